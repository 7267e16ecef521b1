--[[
  Make jobs durable, all or none, and answer the first one's id; the others follow it. Repeated with the same token
  it answers what the first call answered, so that a caller who lost the answer can ask again; with another token
  and the same key, too, so that the caller's own caller can.

  KEYS    see ledger.lua
  ARGV[1] token                  a word that no other submission has
  ARGV[2] token lifetime         s
  ARGV[3] limit                  most jobs that may be unfinished
  ARGV[4] number of jobs
  ARGV[5] key                    a word that only repetitions of this submission have; empty: none
  ARGV[6] digest                 what the key stands for; another one with the same key is refused
  ARGV[7] key lifetime           s
  then for each job:
    number of opcodes, opcodes (JSON list), summaries (JSON list), requester, priorities (with spaces between),
    dependencies (lines '<opcode index> <job id> <statuses>'; ids below 0 are relative to the job's own)
  Answers {first id, {id, priority, …} of those that can be claimed}
  Errors  ABANDONED the caller was told that it failed; KEY_REUSED; DRAINED; FULL; BAD_DEPENDENCY
]]
local token_key = jobs .. 'submission:' .. ARGV[1]
local number = tonumber(ARGV[4])

local record_key = ARGV[5] ~= '' and jobs .. 'submission-key:' .. ARGV[5]
local before, drained, serial = unpack(redis.call('MGET', token_key, jobs .. 'drained', jobs .. 'serial'))
if before == 'abandoned' then return redis.error_reply('ABANDONED this submission was given up') end

local record = not before and record_key and redis.call('GET', record_key)
if record then
  local made, token, digest = record:match('^(%d+ %d+) (%S+) (%S+)$')
  if digest ~= ARGV[6] then return redis.error_reply('KEY_REUSED this key stands for another submission') end
  -- Somebody is told now that it succeeded: it must not be taken back because somebody else was told that it failed.
  before = made .. ' confirmed'
  redis.call('SET', jobs .. 'submission:' .. token, before, 'EX', ARGV[2])
end

if before then
  local first, ready = tonumber(before:match('^%d+')), {}
  for id = first, first + number - 1 do
    local priority = redis.call('ZSCORE', jobs .. 'ready', id)
    if priority then
      ready[#ready + 1] = id
      ready[#ready + 1] = priority
    end
  end
  return { first, ready }
end

if drained then return redis.error_reply('DRAINED Queue drained') end
local unfinished = redis.call('ZCARD', jobs .. 'live') - redis.call('ZCARD', jobs .. 'ended')
if unfinished + number > tonumber(ARGV[3]) then
  return redis.error_reply('FULL The job queue is full: at most ' .. ARGV[3] .. ' jobs may be unfinished')
end

local first = (tonumber(serial) or 0) + 1
local function argument(job, field) return ARGV[7 + job * 6 + field] end

local depends_of = {}
for job = 0, number - 1 do
  local lines = {}
  for index, dependency, accepted in argument(job, 6):gmatch('(%d+) (%-?%d+) (%S+)') do
    local absolute = tonumber(dependency)
    if absolute < 0 then absolute = first + job + absolute end
    if absolute < 1 then
      return redis.error_reply('BAD_DEPENDENCY Dependency ' .. dependency .. ' of opcode ' .. index
        .. ' leads to no job: this one has the id ' .. (first + job))
    end
    lines[#lines + 1] = index .. ' ' .. string.format('%.0f', absolute) .. ' ' .. accepted
  end
  depends_of[job] = table.concat(lines, '\n')
end

local received, ready = microseconds(), {}
redis.call('SET', jobs .. 'serial', first + number - 1)
for job = 0, number - 1 do
  local id = string.format('%.0f', first + job)
  local key = job_prefix .. id
  local priorities, depends = argument(job, 5), depends_of[job]
  local priority = smallest_priority(priorities, 0)
  redis.call('HSET', key, 'status', 'queued', 'at', '0', 'count', argument(job, 1), 'ops', argument(job, 2),
    'summary', argument(job, 3), 'requester', argument(job, 4), 'received', received, 'priorities', priorities,
    'priority', priority)
  redis.call('ZADD', jobs .. 'live', id, id)
  local finding, dependency
  if depends ~= '' then
    redis.call('HSET', key, 'depends', depends)
    finding, dependency = look_at_dependencies(id, '0', depends)
  end
  -- Whatever else it found is for the claim to say: only the leader ends jobs.
  if finding == 'wait' then
    block(id, key, dependency)
  else
    redis.call('ZADD', jobs .. 'ready', priority, id)
    ready[#ready + 1] = id
    ready[#ready + 1] = tostring(priority)
  end
  announce(id, 'queued')
end
local made = string.format('%.0f %.0f', first, number)
redis.call('SET', token_key, made, 'EX', ARGV[2])
if record_key then redis.call('SET', record_key, made .. ' ' .. ARGV[1] .. ' ' .. ARGV[6], 'EX', ARGV[7]) end
return { first, ready }

--[[
  Taking jobs into the queue: behind ledger.lua, in front of the scripts that do. Each job has six arguments:
    number of opcodes, opcodes (JSON list), summaries (JSON list), requester, priorities (with spaces between),
    dependencies (lines '<opcode index> <job id> <statuses>'; ids below 0 are relative to the job's own)
]]

-- Why `number` more jobs are not taken, as an error; nil when they are.
local function refusal_of_jobs(limit, number)
  if redis.call('EXISTS', jobs .. 'drained') == 1 then return redis.error_reply('DRAINED Queue drained') end
  local unfinished = redis.call('ZCARD', jobs .. 'live') - redis.call('ZCARD', jobs .. 'ended')
  if unfinished + number > tonumber(limit) then
    return redis.error_reply('FULL The job queue is full: at most ' .. limit .. ' jobs may be unfinished')
  end
end

-- {id, priority, …} of those among `number` jobs from `first` on that can be begun.
local function ready_among(first, number)
  local ready = {}
  for id = first, first + number - 1 do
    local priority = redis.call('ZSCORE', jobs .. 'ready', id)
    if priority then
      ready[#ready + 1] = string.format('%.0f', id)
      ready[#ready + 1] = priority
    end
  end
  return ready
end

-- Make jobs of the arguments from ARGV[from] on, all or none. Answers the first one's id, and behind it
-- {id, priority, …} of those that can be begun; or nil and an error.
local function make_jobs(from, number)
  local first = (tonumber(redis.call('GET', jobs .. 'serial')) or 0) + 1
  local function argument(job, field) return ARGV[from + job * 6 + field - 1] end

  local depends_of = {}
  for job = 0, number - 1 do
    local lines = {}
    for index, dependency, accepted in argument(job, 6):gmatch('(%d+) (%-?%d+) (%S+)') do
      local absolute = tonumber(dependency)
      if absolute < 0 then absolute = first + job + absolute end
      if absolute < 1 then
        return nil, redis.error_reply('BAD_DEPENDENCY Dependency ' .. dependency .. ' of opcode ' .. index
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
    -- Whatever else it found is for its beginning to say: only the leader ends jobs.
    if finding == 'wait' then
      block(id, key, dependency)
    else
      redis.call('ZADD', jobs .. 'ready', priority, id)
      ready[#ready + 1] = id
      ready[#ready + 1] = tostring(priority)
    end
    announce(id, 'queued')
  end
  return first, ready
end

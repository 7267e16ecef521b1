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
  then the jobs, see intake.lua
  Answers {first id, {id, priority, …} of those that can be begun}
  Errors  ABANDONED the caller was told that it failed; KEY_REUSED; DRAINED; FULL; BAD_DEPENDENCY
]]
local token_key = jobs .. 'submission:' .. ARGV[1]
local number = tonumber(ARGV[4])

local record_key = ARGV[5] ~= '' and jobs .. 'submission-key:' .. ARGV[5]
local before = redis.call('GET', token_key)
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
  local first = tonumber(before:match('^%d+'))
  return { first, ready_among(first, number) }
end

local refusal = refusal_of_jobs(ARGV[3], number)
if refusal then return refusal end

local first, ready = make_jobs(8, number)
if not first then return ready end
local made = string.format('%.0f %.0f', first, number)
redis.call('SET', token_key, made, 'EX', ARGV[2])
if record_key then redis.call('SET', record_key, made .. ' ' .. ARGV[1] .. ' ' .. ARGV[6], 'EX', ARGV[7]) end
return { first, ready }

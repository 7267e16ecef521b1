--[[
  The running opcode ends as success and gives its locks back. After the last one the job does; otherwise the next
  opcode can be begun. The jobs that it submits are made with it, all or none: where there are no such jobs it has
  not succeeded. Does nothing when the opcode has succeeded already.

  KEYS    see ledger.lua
  ARGV[1] epoch
  ARGV[2] job id
  ARGV[3] opcode index
  ARGV[4] number of jobs that it submits
  ARGV[5] limit                  most jobs that may be unfinished
  ARGV[6] … the result's JSON, in one piece more than there are jobs: their ids come between
  then the jobs, see intake.lua
  Answers {id of the first of the jobs that it submitted or 0, {id, priority, …} of jobs that can be begun}
  Errors  STALE_EPOCH, WRONG_STATE, DRAINED, FULL, BAD_DEPENDENCY
]]
local stale = fence(KEYS[1], ARGV[1])
if stale then return stale end

local id, index, number = ARGV[2], ARGV[3], tonumber(ARGV[4])
local key = job_prefix .. id
local status, at, count, priorities, undo, made =
  unpack(redis.call('HMGET', key, 'status', 'at', 'count', 'priorities', 'undo', 'made.' .. index))
if status and tonumber(index) < tonumber(at) then
  if not made then return { 0, unclaimed_grants({}) } end
  return { tonumber(made), unclaimed_grants(ready_among(tonumber(made), number)) }
end
if status ~= 'running' or at ~= index then return wrong_state(id, index, status, 'succeed') end

local first, ready, result = 0, {}, ARGV[6]
if number > 0 then
  local refusal = refusal_of_jobs(ARGV[5], number)
  if refusal then return refusal end
  first, ready = make_jobs(7 + number, number)
  if not first then return ready end
  local text = { ARGV[6] }
  for job = 0, number - 1 do
    text[#text + 1] = string.format('%.0f', first + job)
    text[#text + 1] = ARGV[7 + job]
  end
  result = table.concat(text)
  redis.call('HSET', key, 'made.' .. at, string.format('%.0f', first))
end

local time = microseconds()
local next = tonumber(at) + 1
local woken = {}
if next == tonumber(count) then
  woken = finish(id, key, status, 'success', time, 'at', next, 'priority', '0', 'result.' .. at, result, 'end.' .. at, time)
else
  if undo then
    redis.call('DEL', key .. ':undo')
    redis.call('HDEL', key, 'undo')
  end
  local priority = smallest_priority(priorities, next)
  requeue(id, key, priority, 'at', next, 'priority', priority, 'result.' .. at, result, 'end.' .. at, time)
end
for _, word in ipairs(ready) do woken[#woken + 1] = word end
return { first, release_locks(id, woken) }

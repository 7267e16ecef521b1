--[[
  The running opcode ends as success and gives its locks back. After the last one the job does; otherwise the next
  opcode can be claimed. Does nothing when the opcode has succeeded already.

  KEYS    see ledger.lua
  ARGV[1] epoch
  ARGV[2] job id
  ARGV[3] opcode index
  ARGV[4] result                 JSON
  Answers {id, priority, …} of other jobs that can be claimed
  Errors  STALE_EPOCH, WRONG_STATE
]]
local stale = fence(KEYS[1], ARGV[1])
if stale then return stale end

local id, index = ARGV[2], ARGV[3]
local key = job_prefix .. id
local status, at, count, priorities, undo =
  unpack(redis.call('HMGET', key, 'status', 'at', 'count', 'priorities', 'undo'))
if status and tonumber(index) < tonumber(at) then return unclaimed_grants({}) end
if status ~= 'running' or at ~= index then return wrong_state(id, index, status, 'succeed') end

local time = microseconds()
local next = tonumber(at) + 1
if next == tonumber(count) then
  local woken = finish(id, key, status, 'success', time, 'at', next, 'priority', '0', 'result.' .. at, ARGV[4], 'end.' .. at, time)
  return release_locks(id, woken)
end

if undo then
  redis.call('DEL', key .. ':undo')
  redis.call('HDEL', key, 'undo')
end
local priority = smallest_priority(priorities, next)
requeue(id, key, priority, 'at', next, 'priority', priority, 'result.' .. at, ARGV[4], 'end.' .. at, time)
return release_locks(id, {})

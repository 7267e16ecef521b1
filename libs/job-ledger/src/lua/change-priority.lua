--[[
  Give the opcodes that have not begun to run another priority, and the lock request of one that waits.

  KEYS    see ledger.lua
  ARGV[1] job id
  ARGV[2] priority
  Answers {1 or 0, text, 1 when the job's place in the queue of wake-ups has to change,
    {id, priority, …} of jobs that can be begun}
]]
local id, priority = ARGV[1], ARGV[2]
local key = job_prefix .. id
local status, at, count, priorities = unpack(redis.call('HMGET', key, 'status', 'at', 'count', 'priorities'))
if not status then return { 0, 'Job ' .. id .. ' not found in queue', 0, {} } end
if FINAL[status] then return { 0, 'Job ' .. id .. ' is finished', 0, {} } end
if status == 'canceling' then return { 0, 'Job ' .. id .. ' is being canceled', 0, {} } end
local from = tonumber(at)
if status == 'running' then from = from + 1 end
if from >= tonumber(count) then return { 0, 'Job ' .. id .. ' has no pending opcodes', 0, {} } end

local changed = {}
for one in priorities:gmatch('%S+') do
  changed[#changed + 1] = #changed >= from and priority or one
end
priorities = table.concat(changed, ' ')
local smallest = smallest_priority(priorities, tonumber(at))
redis.call('HSET', key, 'priorities', priorities, 'priority', smallest)
local ready = redis.call('ZSCORE', jobs .. 'ready', id)
if ready then redis.call('ZADD', jobs .. 'ready', smallest, id) end
announce(id, status)

local woken = {}
if status == 'waiting' then
  -- Whoever may ask for this need not be the leader: the epoch is the present one.
  local args = { redis.call('GET', KEYS[1]), id, priority }
  for _, owner in ipairs(lock_reprioritize({ KEYS[1], KEYS[4] }, args)) do
    woken[#woken + 1] = owner
    woken[#woken + 1] = redis.call('HGET', job_prefix .. owner, 'priority') or '0'
  end
end
return { 1, 'Priorities of pending opcodes for job ' .. id .. ' have been changed to ' .. priority, ready and 1 or 0, woken }

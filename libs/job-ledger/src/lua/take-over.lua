--[[
  One page of the jobs that an older leader had in hand: waiting ones go back to the queue, and those asked to cancel
  end as canceled. When there are none left, those whose opcode was running are answered; they are few, and stay as
  they are.

  KEYS    see ledger.lua
  ARGV[1] epoch
  ARGV[2] page size
  Answers {id, {undo list}, …} of those whose opcode was running, or false when there is another page before
  Errors  STALE_EPOCH
]]
local stale = fence(KEYS[1], ARGV[1])
if stale then return stale end

local page = redis.call('ZRANGEBYSCORE', jobs .. 'active', ACTIVE_RANK.waiting, ACTIVE_RANK.canceling, 'LIMIT', 0, ARGV[2])
for _, id in ipairs(page) do
  local key = job_prefix .. id
  local status, priority = unpack(redis.call('HMGET', key, 'status', 'priority'))
  if status == 'canceling' then
    -- Nobody has to be told of its dependants: the queue of wake-ups is swept before the new leader takes any.
    finish_canceled(id, key, status, 'request')
  else
    redis.call('HDEL', key, 'parked')
    requeue(id, key, priority)
  end
end
if #page > 0 then return false end

local running = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', jobs .. 'active', ACTIVE_RANK.running, ACTIVE_RANK.running)) do
  running[#running + 1] = id
  running[#running + 1] = redis.call('LRANGE', job_prefix .. id .. ':undo', 0, -1)
end
return running

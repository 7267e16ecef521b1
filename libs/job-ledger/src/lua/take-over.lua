--[[
  One page of the jobs that an older leader had in hand: waiting ones go back to the queue, those asked to cancel
  end as canceled, and those whose opcode was running are answered.

  KEYS    see ledger.lua
  ARGV[1] epoch
  ARGV[2] after                  job id: only later ones
  ARGV[3] page size
  Answers {last id looked at, or '' when there are no more; {id, {undo list}, …} of those whose opcode was running}
  Errors  STALE_EPOCH
]]
local stale = fence(KEYS[1], ARGV[1])
if stale then return stale end

local page = redis.call('ZRANGEBYSCORE', jobs .. 'active', '(' .. ARGV[2], '+inf', 'LIMIT', 0, ARGV[3])
local running = {}
for _, id in ipairs(page) do
  local key = job_prefix .. id
  local status = redis.call('HGET', key, 'status')
  if status == 'running' then
    running[#running + 1] = id
    running[#running + 1] = redis.call('LRANGE', key .. ':undo', 0, -1)
  elseif status == 'canceling' then
    -- Nobody has to be told of its dependants: the queue of wake-ups is swept before the new leader takes any.
    finish_canceled(id, key, status, 'request')
  else
    redis.call('HDEL', key, 'claim', 'parked')
    redis.call('ZREM', jobs .. 'active', id)
    make_ready(id, key)
    move(id, key, status, 'queued')
  end
end
return { page[#page] or '', running }

--[[
  Nobody works on the opcode any more, and it gives its locks back: the next claim takes it up. A job that was canceled
  meanwhile is left as it is. A running opcode must have undone what it did and cleared its undo list.

  KEYS    see ledger.lua
  ARGV[1] epoch
  ARGV[2] job id
  ARGV[3] opcode index
  ARGV[4] claim                  the caller's token; '' when it has none
  Answers {id, priority, …} of jobs that can be claimed, this one among them
  Errors  STALE_EPOCH, WRONG_STATE
]]
local stale = fence(KEYS[1], ARGV[1])
if stale then return stale end

local id, index = ARGV[2], ARGV[3]
local key = job_prefix .. id
local status, at, claim, undo, priority = unpack(redis.call('HMGET', key, 'status', 'at', 'claim', 'undo', 'priority'))
if status == 'canceling' or status == 'canceled' then return {} end
-- Done before; the answer was lost.
if status and ARGV[4] ~= '' and claim ~= ARGV[4] then return unclaimed_grants({ id, priority }) end
if ARGV[4] == '' or at ~= index or (status ~= 'waiting' and status ~= 'running') then
  return wrong_state(id, index, status, 'park')
end
if undo then
  return redis.error_reply('WRONG_STATE cannot park opcode ' .. index .. ' of job ' .. id .. ': its undo list is not empty')
end

-- With no claim left, a repeated claim cannot take it for its own.
if status == 'running' then
  activate(id, key, 'waiting', 'parked', '1', 'claim', '')
else
  redis.call('HSET', key, 'parked', '1', 'claim', '')
end
redis.call('ZADD', jobs .. 'ready', priority, id)
return release_locks(id, { id, priority })

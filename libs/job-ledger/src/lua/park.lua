--[[
  Nobody works on the opcode any more; it waits for locks, and the next claim takes it up. A job that was canceled
  meanwhile is left as it is. A running opcode must have undone what it did and cleared its undo list.

  KEYS    see ledger.lua
  ARGV[1] epoch
  ARGV[2] job id
  ARGV[3] opcode index
  Errors  STALE_EPOCH, WRONG_STATE
]]
local stale = fence(KEYS[1], ARGV[1])
if stale then return stale end

local id, index = ARGV[2], ARGV[3]
local key = job_prefix .. id
local status, at, undo = unpack(redis.call('HMGET', key, 'status', 'at', 'undo'))
if status == 'canceling' or status == 'canceled' then return end
if at ~= index or (status ~= 'waiting' and status ~= 'running') then return wrong_state(id, index, status, 'park') end
if undo then
  return redis.error_reply('WRONG_STATE cannot park opcode ' .. index .. ' of job ' .. id .. ': its undo list is not empty')
end

-- With no claim left, a repeated claim cannot take it for its own.
if status == 'running' then
  activate(id, key, 'waiting', 'parked', '1', 'claim', '')
else
  redis.call('HSET', key, 'parked', '1', 'claim', '')
end

--[[
  Drop the running opcode's undo list.

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
local status, at = unpack(redis.call('HMGET', key, 'status', 'at'))
if at ~= index or status ~= 'running' then return wrong_state(id, index, status, 'clear the undo list of') end
redis.call('DEL', key .. ':undo')
redis.call('HDEL', key, 'undo')

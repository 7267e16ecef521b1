--[[
  Add a step to the running opcode's undo list, before the step is taken. A step that stands last already is not
  added again: the caller lost the answer and repeats itself.

  KEYS    see ledger.lua
  ARGV[1] epoch
  ARGV[2] job id
  ARGV[3] opcode index
  ARGV[4] step                   JSON
  Errors  STALE_EPOCH, WRONG_STATE
]]
local stale = fence(KEYS[1], ARGV[1])
if stale then return stale end

local id, index = ARGV[2], ARGV[3]
local key = job_prefix .. id
local status, at = unpack(redis.call('HMGET', key, 'status', 'at'))
if at ~= index or status ~= 'running' then return wrong_state(id, index, status, 'record an undo step of') end
if redis.call('LINDEX', key .. ':undo', -1) == ARGV[4] then return end
redis.call('RPUSH', key .. ':undo', ARGV[4])
redis.call('HSET', key, 'undo', '1')

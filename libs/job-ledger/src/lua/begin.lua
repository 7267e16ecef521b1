--[[
  The opcode holds its locks and begins to run. A job that was asked to cancel ends as canceled instead.

  KEYS    see ledger.lua
  ARGV[1] epoch
  ARGV[2] job id
  ARGV[3] opcode index
  Answers {1 when it runs (also when it did already) or 0 when it is canceled, {id, priority, …} of jobs that can be claimed}
  Errors  STALE_EPOCH, WRONG_STATE
]]
local stale = fence(KEYS[1], ARGV[1])
if stale then return stale end

local id, index = ARGV[2], ARGV[3]
local key = job_prefix .. id
local status, at, parked = unpack(redis.call('HMGET', key, 'status', 'at', 'parked'))
if at ~= index then return wrong_state(id, index, status, 'begin') end
if status == 'running' then return { 1, {} } end
if status == 'canceled' then return { 0, {} } end
if status == 'canceling' then return { 0, finish_canceled(id, key, status, 'request') } end
if status ~= 'waiting' or parked then return wrong_state(id, index, status, 'begin') end

activate(id, key, 'running', 'exec.' .. at, microseconds())
return { 1, {} }

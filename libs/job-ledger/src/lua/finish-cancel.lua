--[[
  Nothing works any more on a job that was asked to cancel: it gives its locks back and ends as canceled. Does nothing
  when it is over.

  KEYS    see ledger.lua
  ARGV[1] epoch
  ARGV[2] job id
  Answers {id, priority, …} of jobs that can be begun
  Errors  STALE_EPOCH, WRONG_STATE
]]
local stale = fence(KEYS[1], ARGV[1])
if stale then return stale end

local id = ARGV[2]
local key = job_prefix .. id
local status, at = unpack(redis.call('HMGET', key, 'status', 'at'))
if FINAL[status] then return unclaimed_grants({}) end
if status ~= 'canceling' then return wrong_state(id, at or '-', status, 'cancel') end
return release_locks(id, finish_canceled(id, key, status, 'request'))

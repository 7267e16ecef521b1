--[[
  Revoke a token for joining the cluster. Atomic: the check of the epoch, and the removal. fence.lua stands before it.

  KEYS[1] 'gannet:epoch'              string: the leader's epoch
  KEYS[2] 'gannet:join-token:<id>'    hash
  ARGV[1] epoch            int
  Answers 1, or 0 when there is none.
  Errors  STALE_EPOCH
]]
local stale = fence(KEYS[1], ARGV[1])
if stale then return stale end
return redis.call('DEL', KEYS[2])

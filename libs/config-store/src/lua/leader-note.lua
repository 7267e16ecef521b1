--[[
  Write one of the leader's notes. Atomic: the check of the epoch, and the write. fence.lua stands before it.

  KEYS[1] 'gannet:epoch'    string: the leader's epoch
  KEYS[2] 'gannet:notes'    hash: name -> JSON
  ARGV[1] epoch      int
  ARGV[2] name
  ARGV[3] JSON       the whole note
  Answers 1.
  Errors  STALE_EPOCH
]]
local stale = fence(KEYS[1], ARGV[1])
if stale then return stale end
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
return 1

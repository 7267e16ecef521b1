--[[
  Keep a token for joining the cluster. Atomic: the check of the epoch, and the write. fence.lua stands before it.

  KEYS[1] 'gannet:epoch'              string: the leader's epoch
  KEYS[2] 'gannet:join-token:<id>'    hash: digest, token (JSON), node (name in lower case), state ('open')
  ARGV[1] epoch            int
  ARGV[2] digest           of the secret
  ARGV[3] token            JSON
  ARGV[4] node's name      in lower case
  ARGV[5] lifetime         seconds
  Answers 1.
  Errors  STALE_EPOCH
]]
local stale = fence(KEYS[1], ARGV[1])
if stale then return stale end
redis.call('HSET', KEYS[2], 'digest', ARGV[2], 'token', ARGV[3], 'node', ARGV[4], 'state', 'open')
redis.call('EXPIRE', KEYS[2], ARGV[5])
return 1

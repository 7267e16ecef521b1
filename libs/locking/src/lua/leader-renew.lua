#!lua flags=allow-oom
--[[
  Make the lease last from now on again, if it is still this candidate's.

  KEYS[1] 'gannet:leader'   hash, see leader-acquire.lua
  ARGV[1] token
  ARGV[2] lease             int, milliseconds
  ARGV[3] contact           where the leader is reached now
  Allowed when memory is full, as taking the lease is.
  Answers 1 when renewed, 0 when the lease has ended or is another's.
]]
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return 0 end
if redis.call('HGET', KEYS[1], 'contact') ~= ARGV[3] then redis.call('HSET', KEYS[1], 'contact', ARGV[3]) end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])

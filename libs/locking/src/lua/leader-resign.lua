--[[
  End the lease, if it is still this candidate's.

  KEYS[1] 'gannet:leader'   hash, see leader-acquire.lua
  ARGV[1] token
  Answers 1 when it was, else 0.
]]
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])

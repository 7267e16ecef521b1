#!lua flags=allow-oom
--[[
  Take the leader's lease if nobody has it, with a new epoch. Atomic: no two candidates get it, no two an epoch.

  KEYS[1] 'gannet:epoch'    string: the epoch, raised here and by leader-raise-epoch.lua
  KEYS[2] 'gannet:leader'   hash: token, holder, epoch; exists for as long as the lease lasts
  ARGV[1] token             names this candidacy
  ARGV[2] holder            the candidate's name, for people
  ARGV[3] lease             int, milliseconds
  Allowed when memory is full: only with a leader can an operator make room.
  Answers the epoch, or 0 when another has the lease. A candidate whose last answer was lost gets its epoch again.
]]
local token = redis.call('HGET', KEYS[2], 'token')
if token and token ~= ARGV[1] then return 0 end
if not token then
  redis.call('HSET', KEYS[2], 'token', ARGV[1], 'holder', ARGV[2], 'epoch', redis.call('INCR', KEYS[1]))
end
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return tonumber(redis.call('HGET', KEYS[2], 'epoch'))

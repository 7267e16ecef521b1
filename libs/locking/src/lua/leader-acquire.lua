#!lua flags=allow-oom
--[[
  Take the leader's lease if nobody has it, with a new epoch. Atomic: no two candidates get it, no two an epoch.

  KEYS[1] 'gannet:epoch'    string: the epoch, raised here and by leader-raise-epoch.lua
  KEYS[2] 'gannet:leader'   hash: token, holder, epoch, contact; exists for as long as the lease lasts
  KEYS[3] 'gannet:leader:successor'   string: the candidate in whose favour a leader resigned; exists for a while
  ARGV[1] token             names this candidacy
  ARGV[2] holder            the candidate's name
  ARGV[3] lease             int, milliseconds
  ARGV[4] contact           where the leader is reached, for the other candidates
  Allowed when memory is full: only with a leader can an operator make room.
  Answers the epoch, or 0 when another has the lease. A candidate whose last answer was lost gets its epoch again.
]]
local token = redis.call('HGET', KEYS[2], 'token')
if token and token ~= ARGV[1] then return 0 end
if not token then
  local successor = redis.call('GET', KEYS[3])
  if successor and successor ~= ARGV[2] then return 0 end
  local epoch = redis.call('INCR', KEYS[1])
  redis.call('HSET', KEYS[2], 'token', ARGV[1], 'holder', ARGV[2], 'epoch', epoch, 'contact', ARGV[4])
  redis.call('DEL', KEYS[3])
end
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return tonumber(redis.call('HGET', KEYS[2], 'epoch'))

#!lua flags=allow-oom
--[[
  Raise the epoch so that the next leader's is higher than any that nodes have seen. It is never lowered.

  KEYS[1] 'gannet:epoch'    string: the epoch
  ARGV[1] epoch             int: the least that it shall be
  Answers the epoch as it is then.
]]
local present = tonumber(redis.call('GET', KEYS[1]) or 0)
if present >= tonumber(ARGV[1]) then return present end
redis.call('SET', KEYS[1], ARGV[1])
return tonumber(ARGV[1])

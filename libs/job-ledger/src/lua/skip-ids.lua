#!lua flags=allow-oom
--[[
  Go on counting jobs after a given id. The count is never set back.

  KEYS[1] 'gannet:jobs:serial'   string: the last id given out
  ARGV[1] id                     int: the least that it shall be
  Answers the count as it is then.
]]
local present = tonumber(redis.call('GET', KEYS[1]) or 0)
if present >= tonumber(ARGV[1]) then return present end
redis.call('SET', KEYS[1], ARGV[1])
return tonumber(ARGV[1])

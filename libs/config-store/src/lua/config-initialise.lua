--[[
  Write the configuration of a new cluster. Atomic: the check that there is none, and every write. Not fenced:
  without a configuration there is no leader.

  KEYS[1] 'gannet:config:'    prefix, as in config-commit.lua
  ARGV[1] serial     int: the serial to begin with
  ARGV[2] values     JSON {value: owner}: the unique values that the rows have
  ARGV[3…]           for each row kind, uuid, JSON
  Answers 1.
  Errors  CONFLICT when there is a cluster already
]]
local prefix = KEYS[1]
if redis.call('EXISTS', prefix .. 'serial') == 1 then
  return redis.error_reply('CONFLICT there is a cluster in this Redis already; nothing was changed')
end
redis.call('SET', prefix .. 'serial', ARGV[1])
for value, owner in pairs(cjson.decode(ARGV[2])) do redis.call('HSET', prefix .. 'unique', value, owner) end
for i = 3, #ARGV, 3 do redis.call('HSET', prefix .. ARGV[i], ARGV[i + 1], ARGV[i + 2]) end
return 1

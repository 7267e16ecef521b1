--[[
  Put another configuration in the place of what there is, if anything. Atomic: every write. fence.lua stands before it.

  KEYS[1] 'gannet:epoch'      string: the leader's epoch
  KEYS[2] 'gannet:config:'    prefix, as in config-commit.lua
  ARGV[1] epoch      int
  ARGV[2] serial     int: the least that the configuration's serial shall be; it is above the present one in any case
  ARGV[3] kinds      JSON [kind, …]: all kinds of rows
  ARGV[4] values     JSON {value: owner}: the unique values that the rows have
  ARGV[5…]           for each row kind, uuid, JSON
  The stream of changes gets no entry: who follows it finds a gap, and reads everything anew.
  Answers the serial.
  Errors  STALE_EPOCH
]]
local stale = fence(KEYS[1], ARGV[1])
if stale then return stale end

local prefix = KEYS[2]
local serial = math.max(tonumber(ARGV[2]), tonumber(redis.call('GET', prefix .. 'serial') or 0) + 1)
for _, kind in ipairs(cjson.decode(ARGV[3])) do redis.call('DEL', prefix .. kind) end
redis.call('DEL', prefix .. 'unique')
for value, owner in pairs(cjson.decode(ARGV[4])) do redis.call('HSET', prefix .. 'unique', value, owner) end
for i = 5, #ARGV, 3 do redis.call('HSET', prefix .. ARGV[i], ARGV[i + 1], ARGV[i + 2]) end
redis.call('SET', prefix .. 'serial', string.format('%d', serial))
return serial

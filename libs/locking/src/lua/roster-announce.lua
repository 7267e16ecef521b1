--[[
  Note that a master is there, by Redis' own clock, and forget those that have not been for a long time.

  KEYS[1] 'gannet:masters'  hash: the master's name -> JSON {seenMs, told}
  ARGV[1] name
  ARGV[2] told              JSON: what it tells of itself
  ARGV[3] kept              int, milliseconds: who has been silent for longer is forgotten
]]
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('HSET', KEYS[1], ARGV[1], '{"seenMs":' .. string.format('%.0f', now) .. ',"told":' .. ARGV[2] .. '}')
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  if cjson.decode(all[i + 1]).seenMs < now - tonumber(ARGV[3]) then redis.call('HDEL', KEYS[1], all[i]) end
end

--[[
  Move one page of final jobs that ended long enough ago to the archive, those that ended first.

  KEYS    see ledger.lua
  ARGV[1] age                    s; 0 or less: all
  ARGV[2] page size
  Answers {archived now, how many are still to do}
]]
local age = math.max(tonumber(ARGV[1]), 0)
local latest = string.format('%.0f', tonumber(microseconds()) - age * 1000000)
local page = redis.call('ZRANGEBYSCORE', jobs .. 'ended', '-inf', latest, 'LIMIT', 0, ARGV[2])
for _, id in ipairs(page) do archive(id) end
return { #page, redis.call('ZCOUNT', jobs .. 'ended', '-inf', latest) }

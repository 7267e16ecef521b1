--[[
  Age one page of the waiting requests: for each round that one has waited its priority goes up by one step, a smaller
  number. Atomic: the moves and the grants they allow.

  KEYS    as in lock-rules.lua
  ARGV[1] epoch      int
  ARGV[2] round      int, ms
  ARGV[3] now        int, ms since 1970; '' for the server's clock
  ARGV[4] highest    int: no priority goes beyond this number
  ARGV[5] page       int: how many requests at once
  Answers {1 when others are still to be aged, else 0; the owners granted, in the order in which they waited}
  Errors  STALE_EPOCH
]]
local stale = fence(KEYS[1], ARGV[1])
if stale then return stale end

local round, highest = tonumber(ARGV[2]), tonumber(ARGV[4])
local now = tonumber(ARGV[3]) or milliseconds()
local function those_due(...)
  return redis.call('ZRANGEBYSCORE', ROUNDS, '-inf', string.format('%.0f', now - round), ...)
end

local due = those_due('WITHSCORES', 'LIMIT', 0, ARGV[5])
local freed, granted = {}, {}
for i = 1, #due, 2 do
  local owner, began = due[i], tonumber(due[i + 1])
  local rounds = math.floor((now - began) / round)
  redis.call('ZADD', ROUNDS, string.format('%.0f', began + rounds * round), owner)
  local request = read_request(owner)
  local priority = math.max(highest, request.priority - rounds)
  if priority < request.priority then reposition(owner, request, priority, freed) end
end
settle_watchers(freed, granted)
return { #those_due('LIMIT', 0, 1), owners_of(granted) }

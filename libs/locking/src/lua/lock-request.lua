--[[
  Ask for locks, all or none, and for at least so many of some candidates. Atomic: the check against holders and
  earlier waiters, and taking them or queueing.

  KEYS    as in lock-rules.lua
  ARGV[1] epoch      int
  ARGV[2] owner      int
  ARGV[3] priority   int, -20..19, smaller first
  ARGV[4] wishes     JSON {'<level>/<name>': 'S'|'X'}, with those of all candidates
  ARGV[5] levels     JSON {level: rank}, the order of the lock hierarchy
  ARGV[6] candidates '' or as in read_request; written in one way only
  Answers 1 when granted, 0 when waiting; a repeated request gets its present state.
  Errors  STALE_EPOCH, LOCK
]]
local stale = fence(KEYS[1], ARGV[1])
if stale then return stale end

local owner, candidates = ARGV[2], ARGV[6]
local wishes = cjson.decode(ARGV[4])

local function same(a, b)
  for lock, mode in pairs(a) do
    if b[lock] ~= mode then return false end
  end
  for lock in pairs(b) do
    if not a[lock] then return false end
  end
  return true
end

local waiting = read_request(owner)
if waiting then
  if same(waiting.wishes, wishes) and waiting.candidates == candidates then return 0 end
  return redis.error_reply('LOCK job ' .. owner .. ' has another lock request waiting; release it first')
end

local held = read_held(owner)
local missing = missing_of(wishes, held)
if has_enough(missing, candidates) then
  redis.call('SREM', UNCLAIMED, owner)
  return 1
end

-- Owners that grow only upwards in one hierarchy cannot wait for each other in a circle.
local ranks = cjson.decode(ARGV[5])
local highest = 0
for lock in pairs(held) do highest = math.max(highest, ranks[split(lock)]) end
for lock in pairs(missing) do
  if ranks[split(lock)] <= highest then
    return redis.error_reply('LOCK job ' .. owner .. ' asks for ' .. lock
      .. ' while it holds locks of that level or a later one; release them first')
  end
end

local request = {
  wishes = wishes,
  candidates = candidates,
  priority = tonumber(ARGV[3]),
  sequence = redis.call('INCR', SEQUENCE),
  growing = highest > 0,
  since = milliseconds(),
}
local nobody_waits = redis.call('HLEN', REQUESTS) == 0
local taken, places = obtainable(missing, candidates, position_of(request), request.growing or nobody_waits)
if taken then
  add_held(owner, taken)
  return 1
end
enqueue(owner, request, claims_of(missing))
watch(owner, request, places)
redis.call('ZADD', ROUNDS, request.since, owner)
return 0

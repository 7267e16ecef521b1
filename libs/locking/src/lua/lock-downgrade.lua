--[[
  Make exclusive locks shared without letting them go. Atomic: the change and granting those who waited for it.

  KEYS    as in lock-rules.lua
  ARGV[1] epoch      int
  ARGV[2] owner      int
  ARGV[3] locks      JSON ['<level>/<name>', …]
  Answers the owners granted, in the order in which they waited. A lock that is shared already stays so.
  Errors  STALE_EPOCH, LOCK (one is not held, or the owner has a request waiting)
]]
local stale = fence(KEYS[1], ARGV[1])
if stale then return stale end

local owner = ARGV[2]
if redis.call('HEXISTS', REQUESTS, owner) == 1 then
  return redis.error_reply('LOCK job ' .. owner .. ' has a lock request waiting; nothing can be downgraded')
end
local before, after = read_held(owner), read_held(owner)
for _, lock in ipairs(cjson.decode(ARGV[3])) do
  if not after[lock] then
    return redis.error_reply('LOCK job ' .. owner .. ' does not hold ' .. lock .. ', which it wants to downgrade')
  end
  after[lock] = 'S'
end
local freed, granted = {}, {}
set_held(owner, before, after, freed)
settle_watchers(freed, granted)
return owners_of(granted)

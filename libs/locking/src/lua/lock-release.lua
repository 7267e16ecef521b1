--[[
  Give locks back. Atomic: giving back and granting those who waited for them.

  KEYS    as in lock-rules.lua
  ARGV[1] epoch      int
  ARGV[2] owner      int
  ARGV[3] locks      JSON ['<level>/<name>', …], or 'all' for all locks and the waiting request
  Answers the owners granted, in the order in which they waited. Locks that are not held are passed over.
  Errors  STALE_EPOCH, LOCK
]]
local stale = fence(KEYS[1], ARGV[1])
if stale then return stale end

local owner = ARGV[2]
local freed, granted = {}, {}
if ARGV[3] == 'all' then
  release_all(owner, freed)
else
  -- What a waiting request still lacks was worked out from what its owner holds; that must not change below it.
  if redis.call('HEXISTS', REQUESTS, owner) == 1 then
    return redis.error_reply('LOCK job ' .. owner .. ' has a lock request waiting; only all can be released')
  end
  local before, after = read_held(owner), read_held(owner)
  for _, lock in ipairs(cjson.decode(ARGV[3])) do after[lock] = nil end
  set_held(owner, before, after, freed)
end
settle_watchers(freed, granted)
return owners_of(granted)

--[[
  Release everything of every owner that is not named: what a dead leader left. Atomic as a whole, so that nothing
  is granted to an owner about to be dropped.

  KEYS    as in lock-rules.lua
  ARGV[1] epoch      int
  ARGV[2] owners     JSON [int, …]: those that stay
  Answers the owners granted, in the order in which they waited.
  Errors  STALE_EPOCH
]]
local stale = fence(KEYS[1], ARGV[1])
if stale then return stale end

local stays = {}
for _, owner in ipairs(cjson.decode(ARGV[2])) do stays[string.format('%.0f', owner)] = true end
local freed, granted = {}, {}
for _, hash in ipairs({ HELD, REQUESTS }) do
  for _, owner in ipairs(redis.call('HKEYS', hash)) do
    if not stays[owner] then release_all(owner, freed) end
  end
end
settle_watchers(freed, granted)
return owners_of(granted)

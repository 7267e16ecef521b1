--[[
  Change the priority of a waiting request; its time of arrival stays. Atomic: the move and the grants it allows.

  KEYS    as in lock-rules.lua
  ARGV[1] epoch      int
  ARGV[2] owner      int
  ARGV[3] priority   int, -20..19
  Answers the owners granted, in the order in which they waited; none when the owner is not waiting.
  Errors  STALE_EPOCH
]]
local stale = fence(KEYS[1], ARGV[1])
if stale then return stale end

local owner = ARGV[2]
local request = read_request(owner)
if not request then return {} end
local freed, granted = {}, {}
reposition(owner, request, tonumber(ARGV[3]), freed)
settle_watchers(freed, granted)
return owners_of(granted)

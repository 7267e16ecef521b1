--[[
  What a waiting owner waits for, as of one moment.

  KEYS    as in lock-rules.lua
  ARGV[1] owner      int
  Answers a list for each lock that holds it up: the lock, then those who hold it, or wait for it earlier, in a
  mode that excludes it. No list when the owner is not waiting.
]]
local owner = ARGV[1]
local request = read_request(owner)
if not request then return {} end
local before = string.format('(%.0f', position_of(request))
local result = {}
for lock, modes in pairs(claims_of(waiting_wishes(owner, request))) do
  local row, seen = { lock }, {}
  local function add(owners)
    for _, other in ipairs(owners) do
      if not seen[other] then row[#row + 1] = other end
      seen[other] = true
    end
  end
  for mode in string.gmatch(modes, '.') do
    for _, rival in ipairs(rivals_of(lock, mode)) do
      add(redis.call('SMEMBERS', PREFIX .. 'holders:' .. rival .. ':' .. lock))
      if not request.growing then
        add(redis.call('ZRANGEBYSCORE', PREFIX .. 'waiters:' .. rival .. ':' .. lock, '-inf', before))
      end
    end
  end
  if #row > 1 then result[#result + 1] = row end
end
return result

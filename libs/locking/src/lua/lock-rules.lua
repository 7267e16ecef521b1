--[[
  The lock rules, put in front of every script of the lock manager. Their plain statement is lock-model.ts;
  this file reaches the same answers without looking at more than the heads of queues.

  Modes. A wish is 'S' (shared) or 'X' (exclusive). A member's wish also claims the set lock of its level with an
  intention, 's' or 'x', so that a set lock and its members meet at one place.

  Order. Waiters stand in one total order: owners that hold locks already ("growing") first, then by priority,
  then by arrival. A waiter is held up by holders and by those before it. A growing one is held up by holders
  only, because those before it may be waiting for just what it holds.

  Watching. A waiter watches one (lock, mode) that holds it up. Only when something leaves that lock is it looked
  at; then it is granted or watches the next place. In one watch list, when the head is still held up all those
  behind it are, too: a release costs the same whether ten or ten thousand wait.

  KEYS[1] 'gannet:epoch'                       string: the leader's epoch
  KEYS[2] 'gannet:lock:'                       prefix of all the following
          held                                 hash: owner -> JSON {lock: 'S'|'X'}, never empty
          requests                             hash: owner -> JSON of a waiting request (see read_request)
          sequence                             int: number of requests so far
          unclaimed                            set: owners granted while waiting that have not asked again since
          holders:<mode>:<level>/<name>        set: owners
          waiters:<mode>:<level>/<name>        sorted set: owners by position
          watchers:<mode>:<level>/<name>       sorted set: owners by position
]]
local PREFIX = KEYS[2]
local HELD = PREFIX .. 'held'
local REQUESTS = PREFIX .. 'requests'
local SEQUENCE = PREFIX .. 'sequence'
local UNCLAIMED = PREFIX .. 'unclaimed'

-- Modes that cannot be held together with the one named.
local MEMBER_RIVALS = { S = { 'X' }, X = { 'X', 'S' } }
local LOCKSET_RIVALS = { S = { 'X', 'x' }, X = { 'X', 'S', 'x', 's' }, s = { 'X' }, x = { 'X', 'S' } }
local MODES = { 'X', 'S', 'x', 's' }

local function split(lock)
  return string.match(lock, '^([^/]+)/(.+)$')
end

local function rivals_of(lock, mode)
  local _, name = split(lock)
  return (name == '[lockset]' and LOCKSET_RIVALS or MEMBER_RIVALS)[mode]
end

-- What an owner of these wishes occupies: {lock: modes}, one letter each, without those that another covers.
local function claims_of(wishes)
  local claims, intentions = {}, {}
  for lock, mode in pairs(wishes) do
    local level, name = split(lock)
    claims[lock] = mode
    if name ~= '[lockset]' and intentions[level] ~= 'x' then
      intentions[level] = mode == 'X' and 'x' or 's'
    end
  end
  for level, intention in pairs(intentions) do
    local lockset = level .. '/[lockset]'
    local direct = claims[lockset]
    if not direct then
      claims[lockset] = intention
    elseif direct == 'S' and intention == 'x' then
      claims[lockset] = 'Sx'
    end
  end
  return claims
end

local function read_held(owner)
  local text = redis.call('HGET', HELD, owner)
  return text and cjson.decode(text) or {}
end

-- {wishes: {lock: mode}, priority, sequence, growing, since (ms since 1970), watch: [lock, mode]}, or nil.
local function read_request(owner)
  local text = redis.call('HGET', REQUESTS, owner)
  return text and cjson.decode(text) or nil
end

-- A double holds it exactly: 7 bits of group and priority (-20..19) above 45 bits of arrival.
local function position_of(request)
  return ((request.growing and 0 or 64) + request.priority + 32) * 2 ^ 45 + request.sequence
end

-- The part of `wishes` that an owner of `held` lacks.
local function missing_of(wishes, held)
  local missing = {}
  for lock, mode in pairs(wishes) do
    if held[lock] ~= mode and held[lock] ~= 'X' then missing[lock] = mode end
  end
  return missing
end

-- What a waiting request claims beyond what its owner holds.
local function waiting_claims(owner, request)
  return claims_of(request.growing and missing_of(request.wishes, read_held(owner)) or request.wishes)
end

-- Is `mode` of `lock` taken by a holder, or (unless growing) claimed by a waiter before `position`?
local function is_blocked(lock, mode, position, growing)
  for _, rival in ipairs(rivals_of(lock, mode)) do
    if redis.call('EXISTS', PREFIX .. 'holders:' .. rival .. ':' .. lock) == 1 then return true end
    if not growing then
      local first = redis.call('ZRANGE', PREFIX .. 'waiters:' .. rival .. ':' .. lock, 0, 0, 'WITHSCORES')
      if first[2] and tonumber(first[2]) < position then return true end
    end
  end
  return false
end

-- A lock and mode that hold the request up; nothing when it can be granted.
local function blocked_at(claims, position, growing)
  for lock, modes in pairs(claims) do
    for mode in string.gmatch(modes, '.') do
      if is_blocked(lock, mode, position, growing) then return lock, mode end
    end
  end
end

-- Make `after` what an owner of `before` holds; locks of which something became free are added to `freed`.
local function set_held(owner, before, after, freed)
  local old, new = claims_of(before), claims_of(after)
  for lock, modes in pairs(old) do
    for mode in string.gmatch(modes, '.') do
      if not string.find(new[lock] or '', mode, 1, true) then
        redis.call('SREM', PREFIX .. 'holders:' .. mode .. ':' .. lock, owner)
        freed[lock] = true
      end
    end
  end
  for lock, modes in pairs(new) do
    for mode in string.gmatch(modes, '.') do
      if not string.find(old[lock] or '', mode, 1, true) then
        redis.call('SADD', PREFIX .. 'holders:' .. mode .. ':' .. lock, owner)
      end
    end
  end
  if next(after) then
    redis.call('HSET', HELD, owner, cjson.encode(after))
  else
    redis.call('HDEL', HELD, owner)
    redis.call('SREM', UNCLAIMED, owner)
  end
end

local function add_held(owner, wishes)
  local before, after = read_held(owner), read_held(owner)
  for lock, mode in pairs(missing_of(wishes, before)) do after[lock] = mode end
  set_held(owner, before, after, {})
end

local function watch(owner, request, lock, mode)
  request.watch = { lock, mode }
  redis.call('ZADD', PREFIX .. 'watchers:' .. mode .. ':' .. lock, position_of(request), owner)
  redis.call('HSET', REQUESTS, owner, cjson.encode(request))
end

local function unwatch(owner, request)
  redis.call('ZREM', PREFIX .. 'watchers:' .. request.watch[2] .. ':' .. request.watch[1], owner)
end

local function enqueue(owner, request, claims)
  for lock, modes in pairs(claims) do
    for mode in string.gmatch(modes, '.') do
      redis.call('ZADD', PREFIX .. 'waiters:' .. mode .. ':' .. lock, position_of(request), owner)
    end
  end
end

-- Out of every queue; the locks it waited for are added to `freed`.
local function dequeue(owner, request, claims, freed)
  unwatch(owner, request)
  for lock, modes in pairs(claims) do
    freed[lock] = true
    for mode in string.gmatch(modes, '.') do
      redis.call('ZREM', PREFIX .. 'waiters:' .. mode .. ':' .. lock, owner)
    end
  end
end

-- Grant a waiting request, or let it watch what holds it up now. `granted` collects {owner, position}.
local function settle(owner, request, granted)
  local position = position_of(request)
  local claims = waiting_claims(owner, request)
  local lock, mode = blocked_at(claims, position, request.growing)
  if lock then
    unwatch(owner, request)
    return watch(owner, request, lock, mode)
  end
  dequeue(owner, request, claims, {})
  redis.call('HDEL', REQUESTS, owner)
  redis.call('SADD', UNCLAIMED, owner)
  add_held(owner, request.wishes)
  granted[#granted + 1] = { owner, position }
end

-- Make the first of a watch list its candidate; false when there is none.
local function next_watcher(list)
  local first = redis.call('ZRANGE', PREFIX .. 'watchers:' .. list.mode .. ':' .. list.lock, 0, 0, 'WITHSCORES')
  list.owner, list.position = first[1], tonumber(first[2])
  return list.owner
end

-- Something left these locks ({lock: true}): settle those who watched them and are held up there no longer, in
-- the order in which they wait. Granting frees nothing, so a list whose first is still held up is done with.
local function settle_watchers(freed, granted)
  if redis.call('HLEN', REQUESTS) == 0 then return end
  local lists = {}
  for lock in pairs(freed) do
    for _, mode in ipairs(MODES) do
      local list = { lock = lock, mode = mode }
      if next_watcher(list) then lists[#lists + 1] = list end
    end
  end
  while #lists > 0 do
    local first = 1
    for i = 2, #lists do
      if lists[i].position < lists[first].position then first = i end
    end
    local list = lists[first]
    local request = read_request(list.owner)
    local blocked = is_blocked(list.lock, list.mode, list.position, request.growing)
    if not blocked then settle(list.owner, request, granted) end
    if blocked or not next_watcher(list) then table.remove(lists, first) end
  end
end

-- Let an owner go from everything, waiting request included.
local function release_all(owner, freed)
  local request = read_request(owner)
  if request then
    dequeue(owner, request, waiting_claims(owner, request), freed)
    redis.call('HDEL', REQUESTS, owner)
  end
  set_held(owner, read_held(owner), {}, freed)
end

-- The answer of every verb that may grant: owners in the order in which they waited.
local function owners_of(granted)
  table.sort(granted, function(a, b) return a[2] < b[2] end)
  local owners = {}
  for i, entry in ipairs(granted) do owners[i] = tonumber(entry[1]) end
  return owners
end

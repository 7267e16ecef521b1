--[[
  The lock rules, put in front of every script of the lock manager. Their plain statement is lock-model.ts;
  this file reaches the same answers without looking at more than the heads of queues.

  Modes. A wish is 'S' (shared) or 'X' (exclusive). A member's wish also claims the set lock of its level with an
  intention, 's' or 'x', so that a set lock and its members meet at one place.

  Order. Waiters stand in one total order: owners that hold locks already ("growing") first, then by priority,
  then by arrival. A waiter is held up by holders and by those before it. A growing one is held up by holders
  only, because those before it may be waiting for just what it holds.

  Candidates. A request may ask for at least so many of some candidates beside its wishes. While it waits it claims
  all of them, so that nobody passes it; when it is granted it takes those that are to be had then, and leaves the
  others to those behind it.

  Watching. A waiter watches a place (lock, mode) that holds it up; one with candidates, such a place of each
  candidate that it cannot have. Only when something leaves that lock is it looked at; then it is granted or watches
  other places. In one watch list, when the head is still held up all those behind it are, too: a release costs the
  same whether ten or ten thousand wait.

  KEYS[1] 'gannet:epoch'                       string: the leader's epoch
  KEYS[2] 'gannet:lock:'                       prefix of all the following
          held                                 hash: owner -> JSON {lock: 'S'|'X'}, never empty
          requests                             hash: owner -> JSON of a waiting request (see read_request)
          rounds                               sorted set: waiting owners by when their present round of waiting
                                               began (ms since 1970), see lock-age.lua
          sequence                             int: number of requests so far
          unclaimed                            set: owners granted while waiting that have not asked again since
          holders:<mode>:<level>/<name>        set: owners
          waiters:<mode>:<level>/<name>        sorted set: owners by position
          watchers:<mode>:<level>/<name>       sorted set: owners by position
]]
local PREFIX = KEYS[2]
local HELD = PREFIX .. 'held'
local REQUESTS = PREFIX .. 'requests'
local ROUNDS = PREFIX .. 'rounds'
local SEQUENCE = PREFIX .. 'sequence'
local UNCLAIMED = PREFIX .. 'unclaimed'

-- Modes that cannot be held together with the one named.
local MEMBER_RIVALS = { S = { 'X' }, X = { 'X', 'S' } }
local LOCKSET_RIVALS = { S = { 'X', 'x' }, X = { 'X', 'S', 'x', 's' }, s = { 'X' }, x = { 'X', 'S' } }
local MODES = { 'X', 'S', 'x', 's' }

local function milliseconds()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

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

-- {wishes: {lock: mode}, candidates, priority, sequence, growing, since (ms since 1970), watch: [[lock, mode], …]},
-- or nil. The wishes are with those of all candidates; which are those tells `candidates`, '' or the JSON text of
-- {least: how many of them, groups: [[lock, …] of each]}.
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

-- What a waiting request asks for beyond what its owner holds.
local function waiting_wishes(owner, request)
  return request.growing and missing_of(request.wishes, read_held(owner)) or request.wishes
end

-- The wishes without those of candidates, and the candidates' wishes, each with its own.
local function by_candidate(wishes, candidates)
  local fixed, groups = {}, {}
  for lock, mode in pairs(wishes) do fixed[lock] = mode end
  for i, group in ipairs(candidates.groups) do
    groups[i] = {}
    for _, lock in ipairs(group) do
      groups[i][lock] = wishes[lock]
      fixed[lock] = nil
    end
  end
  return fixed, groups
end

-- Does a request whose owner lacks `missing` have all that it asks for?
local function has_enough(missing, candidates)
  if not next(missing) then return true end
  if candidates == '' then return false end
  local choice = cjson.decode(candidates)
  local fixed, groups = by_candidate(missing, choice)
  local had = 0
  for _, group in ipairs(groups) do
    if not next(group) then had = had + 1 end
  end
  return not next(fixed) and had >= choice.least
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

-- A lock and mode of `wishes` that are not to be had; nothing when all are.
local function blocked_at(wishes, position, growing)
  for lock, modes in pairs(claims_of(wishes)) do
    for mode in string.gmatch(modes, '.') do
      if is_blocked(lock, mode, position, growing) then return lock, mode end
    end
  end
end

-- What a request whose owner lacks `missing` gets: {lock: mode}; or nil, and the places that hold it up.
local function obtainable(missing, candidates, position, growing)
  if candidates == '' then
    local lock, mode = blocked_at(missing, position, growing)
    if lock then return nil, { { lock, mode } } end
    return missing
  end
  local choice = cjson.decode(candidates)
  local taken, groups = by_candidate(missing, choice)
  local lock, mode = blocked_at(taken, position, growing)
  if lock then return nil, { { lock, mode } } end

  local places, had, seen = {}, 0, {}
  for _, group in ipairs(groups) do
    lock, mode = blocked_at(group, position, growing)
    if not lock then
      had = had + 1
      for one, its_mode in pairs(group) do taken[one] = its_mode end
    elseif not seen[mode .. lock] then
      seen[mode .. lock] = true
      places[#places + 1] = { lock, mode }
    end
  end
  if had < choice.least then return nil, places end
  return taken
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

local function watch(owner, request, places)
  request.watch = places
  for _, place in ipairs(places) do
    redis.call('ZADD', PREFIX .. 'watchers:' .. place[2] .. ':' .. place[1], position_of(request), owner)
  end
  redis.call('HSET', REQUESTS, owner, cjson.encode(request))
end

local function unwatch(owner, request)
  for _, place in ipairs(request.watch) do
    redis.call('ZREM', PREFIX .. 'watchers:' .. place[2] .. ':' .. place[1], owner)
  end
end

-- Put a request into its place in every queue.
local function enqueue(owner, request, claims)
  for lock, modes in pairs(claims) do
    for mode in string.gmatch(modes, '.') do
      redis.call('ZADD', PREFIX .. 'waiters:' .. mode .. ':' .. lock, position_of(request), owner)
    end
  end
end

-- The request waits no longer; the locks it waited for are added to `freed`.
local function dequeue(owner, request, claims, freed)
  unwatch(owner, request)
  for lock, modes in pairs(claims) do
    freed[lock] = true
    for mode in string.gmatch(modes, '.') do
      redis.call('ZREM', PREFIX .. 'waiters:' .. mode .. ':' .. lock, owner)
    end
  end
  redis.call('HDEL', REQUESTS, owner)
  redis.call('ZREM', ROUNDS, owner)
end

-- Give a waiting request another priority; its time of arrival stays. The locks it waits for are added to `freed`:
-- settling their watchers settles it, too.
local function reposition(owner, request, priority, freed)
  local claims = claims_of(waiting_wishes(owner, request))
  request.priority = priority
  enqueue(owner, request, claims)
  watch(owner, request, request.watch)
  for lock in pairs(claims) do freed[lock] = true end
end

-- Grant a waiting request, or let it watch what holds it up now. `granted` collects {owner, position}; candidates
-- that it leaves to others are added to `freed`.
local function settle(owner, request, granted, freed)
  local position = position_of(request)
  local missing = waiting_wishes(owner, request)
  local taken, places = obtainable(missing, request.candidates, position, request.growing)
  if not taken then
    unwatch(owner, request)
    return watch(owner, request, places)
  end
  dequeue(owner, request, claims_of(missing), request.candidates ~= '' and freed or {})
  redis.call('SADD', UNCLAIMED, owner)
  add_held(owner, taken)
  granted[#granted + 1] = { owner, position }
end

-- Make the first of a watch list its candidate; false when there is none.
local function next_watcher(list)
  local first = redis.call('ZRANGE', PREFIX .. 'watchers:' .. list.mode .. ':' .. list.lock, 0, 0, 'WITHSCORES')
  list.owner, list.position = first[1], tonumber(first[2])
  return list.owner
end

-- Something left these locks ({lock: true}): settle those who watched them and are held up there no longer, in
-- the order in which they wait. A grant frees nothing but candidates, for those behind; so a list whose first is
-- still held up is done with, unless it is freed again.
local function settle_watchers(freed, granted)
  if redis.call('HLEN', REQUESTS) == 0 then return end
  local lists = {}
  local function add_lists()
    for lock in pairs(freed) do
      for _, mode in ipairs(MODES) do
        local list = { lock = lock, mode = mode }
        if next_watcher(list) then lists[#lists + 1] = list end
      end
    end
    freed = {}
  end
  add_lists()
  while #lists > 0 do
    local first = 1
    for i = 2, #lists do
      if lists[i].position < lists[first].position then first = i end
    end
    local list = lists[first]
    local owner = list.owner
    local request = read_request(owner)
    if is_blocked(list.lock, list.mode, list.position, request.growing) then
      table.remove(lists, first)
    else
      settle(owner, request, granted, freed)
      -- One with candidates watches several places.
      for i = #lists, 1, -1 do
        if lists[i].owner == owner and not next_watcher(lists[i]) then table.remove(lists, i) end
      end
      add_lists()
    end
  end
end

-- Let an owner go from everything, waiting request included.
local function release_all(owner, freed)
  local request = read_request(owner)
  if request then
    dequeue(owner, request, claims_of(waiting_wishes(owner, request)), freed)
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

--[[
  Commit changes of the configuration, all or none. Atomic: the checks of epoch, serials and unique values, and
  every write. fence.lua stands before it.

  KEYS[1] 'gannet:epoch'      string: the leader's epoch
  KEYS[2] 'gannet:config:'    prefix of all the following
          serial              int: grows by one with each commit; exists when a cluster does
          <kind>              hash: uuid -> JSON of the row
          unique              hash: value -> '<kind> <uuid>' that has it, for values that only one may have
          changes             stream: entry <serial>-0 has one field, 'rows': a JSON list with, for each row of
                              that commit, its kind, its uuid and the row, or null when it was removed
          commit:<token>      string: the serial that the commit with this token made, for a while
  ARGV[1] epoch      int
  ARGV[2] token      names this commit: sent again after its answer was lost, it is answered and not done again
  ARGV[3] lifetime   int: seconds for which the token is kept
  ARGV[4] length     int: how many changes the stream keeps, about
  ARGV[5] base       int: the serial of the configuration that the changes were worked out from
  ARGV[6] values     JSON {give: [value, …], take: {value: owner}}: unique values let go and taken
  ARGV[7…]           for each row kind, uuid, the serial it must have now (0: it must not exist), its new JSON
                     ('' removes it)
  Answers {'done', serial, missed}; {'moved', serial, missed} when a row has another serial; {'taken', serial, missed,
  value, owner} when another entity has a value. The latter two change nothing. `missed` are the entries of the
  stream after `base`, with this commit's own as the last, or none when there is no other: with a second call
  for them a caller would always be behind one that commits without a pause.
  Errors  STALE_EPOCH, CONFLICT when there is no cluster
]]
local stale = fence(KEYS[1], ARGV[1])
if stale then return stale end

local prefix = KEYS[2]

local function missed(own)
  if own and own == tonumber(ARGV[5]) + 1 then return {} end
  return redis.call('XRANGE', prefix .. 'changes', '(' .. ARGV[5] .. '-0', '+', 'COUNT', 100)
end

local done = redis.call('GET', prefix .. 'commit:' .. ARGV[2])
if done then return { 'done', tonumber(done), missed(tonumber(done)) } end

local serial = tonumber(redis.call('GET', prefix .. 'serial') or 0)
if serial == 0 then return redis.error_reply('CONFLICT there is no cluster in this Redis') end

for i = 7, #ARGV, 4 do
  local stored = redis.call('HGET', prefix .. ARGV[i], ARGV[i + 1])
  local present = stored and cjson.decode(stored).serialNo or 0
  if present ~= tonumber(ARGV[i + 2]) then return { 'moved', serial, missed() } end
end

local values = cjson.decode(ARGV[6])
local given = {}
for _, value in ipairs(values.give) do given[value] = true end
for value, taker in pairs(values.take) do
  local owner = redis.call('HGET', prefix .. 'unique', value)
  if owner and owner ~= taker and not given[value] then return { 'taken', serial, missed(), value, owner } end
end

serial = redis.call('INCR', prefix .. 'serial')
local rows = {}
for i = 7, #ARGV, 4 do
  local kind, uuid, row = ARGV[i], ARGV[i + 1], ARGV[i + 3]
  if row == '' then
    redis.call('HDEL', prefix .. kind, uuid)
  else
    redis.call('HSET', prefix .. kind, uuid, row)
  end
  -- Put together as text: cjson would turn empty lists into objects.
  rows[#rows + 1] = '["' .. kind .. '",' .. cjson.encode(uuid) .. ',' .. (row == '' and 'null' or row) .. ']'
end
for value in pairs(given) do redis.call('HDEL', prefix .. 'unique', value) end
for value, owner in pairs(values.take) do redis.call('HSET', prefix .. 'unique', value, owner) end
local entry = '[' .. table.concat(rows, ',') .. ']'
redis.call('XADD', prefix .. 'changes', 'MAXLEN', '~', ARGV[4], serial .. '-0', 'rows', entry)
redis.call('SET', prefix .. 'commit:' .. ARGV[2], serial, 'EX', ARGV[3])
return { 'done', serial, missed(serial) }

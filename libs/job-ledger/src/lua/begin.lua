--[[
  Take a job in hand: its opcode at `at` takes its locks, all or none, and begins to run. When they are not to be had
  the job waits for them parked, and whoever grants them says so to the wake queue. An opcode whose dependencies are
  not met ends or blocks the job instead. Repeated with the same token it answers what it answered before, or what has
  come of the waiting since.

  KEYS    see ledger.lua
  ARGV[1] epoch
  ARGV[2] job id
  ARGV[3] opcode index
  ARGV[4] token                  a word that no other call has
  ARGV[5] wishes                 as libs/locking's lock-request.lua takes them; without them no locks are asked for
  ARGV[6] levels                 the same
  ARGV[7] candidates             the same
  Answers {'running', 'parked' or 'not taken', {id, priority, …} of jobs that can be begun}
  Errors  STALE_EPOCH, LOCK
]]
local stale = fence(KEYS[1], ARGV[1])
if stale then return stale end

local id, index, token = ARGV[2], ARGV[3], ARGV[4]
local key = job_prefix .. id
local status, at, parked, claim, depends, start, priorities =
  unpack(redis.call('HMGET', key, 'status', 'at', 'parked', 'claim', 'depends', 'start', 'priorities'))
if at ~= index then return { 'not taken', {} } end
if status == 'running' and claim == token then return { 'running', {} } end
if status ~= 'queued' and not (status == 'waiting' and parked) then return { 'not taken', {} } end

if status == 'queued' and depends then
  local finding, detail = look_at_dependencies(id, at, depends)
  if finding == 'wait' then
    block(id, key, detail)
    return { 'not taken', {} }
  end
  if finding then
    local time = microseconds()
    redis.call('HSETNX', key, 'start.' .. at, time)
    start = start or time
    if finding == 'cancel' then return { 'not taken', finish_canceled(id, key, status, 'request', 'start', start) } end
    return { 'not taken', finish(id, key, status, 'error', time, 'start', start, 'end.' .. at, time,
      'result.' .. at, cjson.encode({ 'OpExecError', { detail } })) }
  end
end

local granted = 1
if ARGV[5] then
  granted = lock_request({ KEYS[1], KEYS[4] }, { ARGV[1], id, priority_of(priorities, tonumber(at)), ARGV[5], ARGV[6], ARGV[7] })
  if type(granted) == 'table' then return granted end
end

local time = microseconds()
start = start or time
redis.call('ZREM', jobs .. 'ready', id)
redis.call('HSETNX', key, 'start.' .. at, time)
if granted == 1 then
  if parked then redis.call('HDEL', key, 'parked') end
  activate(id, key, 'running', 'claim', token, 'start', start, 'exec.' .. at, time)
  return { 'running', {} }
end
if status == 'queued' then activate(id, key, 'waiting', 'parked', '1', 'claim', '', 'start', start) end
return { 'parked', {} }

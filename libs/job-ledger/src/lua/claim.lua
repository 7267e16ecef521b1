--[[
  Take a job for execution: its opcode at `at` becomes waiting and is this caller's. An opcode whose dependencies
  are not met ends or blocks the job instead. Repeated with the same token it answers the job again.

  KEYS    see ledger.lua
  ARGV[1] epoch
  ARGV[2] job id
  ARGV[3] token                  a word that no other claim has
  Answers {{the job's hash, its log} or false, {id, priority, …} of jobs that can be claimed}
  Errors  STALE_EPOCH
]]
local stale = fence(KEYS[1], ARGV[1])
if stale then return stale end

local id, token = ARGV[2], ARGV[3]
local key = job_prefix .. id
local status, at, parked, claim, depends, start, logs =
  unpack(redis.call('HMGET', key, 'status', 'at', 'parked', 'claim', 'depends', 'start', 'logs'))
local function taken()
  return { { redis.call('HGETALL', key), logs and redis.call('LRANGE', key .. ':log', 0, -1) or {} }, {} }
end
if status == 'waiting' and claim == token then return taken() end

if status == 'waiting' and parked then
  redis.call('HDEL', key, 'parked')
  redis.call('ZREM', jobs .. 'ready', id)
  redis.call('HSET', key, 'claim', token)
  return taken()
end
if status ~= 'queued' then return { false, {} } end

local finding, detail
if depends then finding, detail = look_at_dependencies(id, at, depends) end
if finding == 'wait' then
  block(id, key, detail)
  return { false, {} }
end

local time = microseconds()
redis.call('HSETNX', key, 'start.' .. at, time)
start = start or time
if finding == 'cancel' then return { false, finish_canceled(id, key, status, 'request', 'start', start) } end
if finding == 'error' then
  return { false, finish(id, key, status, 'error', time, 'start', start, 'end.' .. at, time,
    'result.' .. at, cjson.encode({ 'OpExecError', { detail } })) }
end

redis.call('ZREM', jobs .. 'ready', id)
activate(id, key, 'waiting', 'claim', token, 'start', start)
return taken()

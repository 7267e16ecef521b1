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
local function taken()
  return { { redis.call('HGETALL', key), redis.call('LRANGE', key .. ':log', 0, -1) }, {} }
end

local status, at, parked, claim, depends =
  unpack(redis.call('HMGET', key, 'status', 'at', 'parked', 'claim', 'depends'))
if status == 'waiting' and claim == token then return taken() end
if status ~= 'queued' and not (status == 'waiting' and parked) then return { false, {} } end

local finding, detail
if status == 'queued' and depends then finding, detail = look_at_dependencies(id, at, depends) end
if finding == 'wait' then
  block(id, key, detail)
  return { false, {} }
end

local time = microseconds()
redis.call('HSETNX', key, 'start', time)
redis.call('HSETNX', key, 'start.' .. at, time)
if finding == 'cancel' then return { false, finish_canceled(id, key, status, 'request') } end
if finding == 'error' then
  redis.call('HSET', key, 'result.' .. at, cjson.encode({ 'OpExecError', { detail } }), 'end.' .. at, time)
  return { false, finish(id, key, status, 'error', time) }
end

redis.call('HSET', key, 'claim', token)
redis.call('ZREM', jobs .. 'ready', id)
if status == 'queued' then
  redis.call('ZADD', jobs .. 'active', id, id)
  move(id, key, status, 'waiting')
else
  redis.call('HDEL', key, 'parked')
end
return taken()

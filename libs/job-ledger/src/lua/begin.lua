--[[
  The opcode takes its locks, all or none, and begins to run. When they are not to be had it waits for them parked,
  and whoever grants them says so to the wake queue. A job that was asked to cancel ends as canceled instead.

  KEYS    see ledger.lua
  ARGV[1] epoch
  ARGV[2] job id
  ARGV[3] opcode index
  ARGV[4] priority               of the lock request; without it and what follows no locks are asked for
  ARGV[5] wishes                 as libs/locking's lock-request.lua takes them
  ARGV[6] levels                 the same
  Answers {'running' (also when it did already), 'parked' or 'canceled', {id, priority, …} of jobs that can be claimed}
  Errors  STALE_EPOCH, WRONG_STATE, LOCK
]]
local stale = fence(KEYS[1], ARGV[1])
if stale then return stale end

local id, index = ARGV[2], ARGV[3]
local key = job_prefix .. id
local status, at, parked = unpack(redis.call('HMGET', key, 'status', 'at', 'parked'))
if at ~= index then return wrong_state(id, index, status, 'begin') end
if status == 'running' then return { 'running', {} } end
if status == 'canceled' then return { 'canceled', {} } end
if status == 'canceling' then
  return { 'canceled', release_locks(id, finish_canceled(id, key, status, 'request')) }
end
if status ~= 'waiting' or (parked and not ARGV[4]) then return wrong_state(id, index, status, 'begin') end

if ARGV[4] then
  local answer = lock_request({ KEYS[1], KEYS[4] }, { ARGV[1], id, ARGV[4], ARGV[5], ARGV[6] })
  if type(answer) == 'table' then return answer end
  if answer == 0 then
    redis.call('HSET', key, 'parked', '1', 'claim', '')
    return { 'parked', {} }
  end
end
if parked then redis.call('HDEL', key, 'parked') end
activate(id, key, 'running', 'exec.' .. at, microseconds())
return { 'running', {} }

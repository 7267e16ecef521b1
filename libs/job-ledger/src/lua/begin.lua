--[[
  The opcode takes its locks, all or none, and begins to run. When they are not to be had it waits for them parked,
  and whoever grants them says so to the wake queue. A job that was asked to cancel ends as canceled instead.

  KEYS    see ledger.lua
  ARGV[1] epoch
  ARGV[2] job id
  ARGV[3] opcode index
  ARGV[4] claim                  the caller's token; '' when it has none
  ARGV[5] wishes                 as libs/locking's lock-request.lua takes them; without them no locks are asked for
  ARGV[6] levels                 the same
  ARGV[7] candidates             the same
  Answers {'running' (also when it did already), 'parked' or 'canceled', {id, priority, …} of jobs that can be claimed}
  Errors  STALE_EPOCH, WRONG_STATE, LOCK
]]
local stale = fence(KEYS[1], ARGV[1])
if stale then return stale end

local id, index = ARGV[2], ARGV[3]
local key = job_prefix .. id
local status, at, claim, priorities = unpack(redis.call('HMGET', key, 'status', 'at', 'claim', 'priorities'))
if status == 'canceled' then return { 'canceled', {} } end
if status == 'canceling' then
  return { 'canceled', release_locks(id, finish_canceled(id, key, status, 'request')) }
end
-- An earlier attempt of this caller parked it, and its answer was lost: it waits still, or another claim has it now.
if status and ARGV[4] ~= '' and claim ~= ARGV[4] then return { 'parked', {} } end
if ARGV[4] == '' or at ~= index then return wrong_state(id, index, status, 'begin') end
if status == 'running' then return { 'running', {} } end
if status ~= 'waiting' then return wrong_state(id, index, status, 'begin') end

if ARGV[5] then
  -- The present priority: it may have been changed since the claim.
  local priority = priority_of(priorities, tonumber(at))
  local answer = lock_request({ KEYS[1], KEYS[4] }, { ARGV[1], id, priority, ARGV[5], ARGV[6], ARGV[7] })
  if type(answer) == 'table' then return answer end
  if answer == 0 then
    redis.call('HSET', key, 'parked', '1', 'claim', '')
    return { 'parked', {} }
  end
end
activate(id, key, 'running', 'exec.' .. at, microseconds())
return { 'running', {} }

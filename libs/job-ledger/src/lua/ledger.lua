--[[
  In front of every script of the ledger, behind the fence of libs/locking: the ledger's keys and the steps that
  several verbs share. All scripts take the same four keys; the others are derived from the prefixes.

  Verbs that take or end an opcode do the same with its locks, by the functions of libs/locking, in the same step:
  a job that is over, or between two opcodes, holds none, whenever its leader dies.

  KEYS[1] 'gannet:epoch'         string: the leader's epoch
  KEYS[2] 'gannet:job:'          prefix of one job:
    <id>                         hash, see below
    <id>:log                     list of '<opcode index> [serial, [sec, usec], type, payload]'
    <id>:undo                    list of JSON: the undo list of the opcode that runs
  KEYS[3] 'gannet:jobs:'         prefix of what spans jobs:
    serial                       string: the last id given out
    live, archived               sorted sets of ids by id
    ready                        sorted set of ids by priority: queued and waiting for no other job, or parked and
                                 waiting for no lock: owed a wake-up
    active                       sorted set of ids by ACTIVE_RANK: waiting, canceling, running
    ended                        sorted set of ids by end time (µs): final and not archived
    ends                         hash: how many of those have each final status
    dependants:<id>              set of ids: queued jobs that wait for the end of this one
    changes                      stream, ids '0-<n>' without gaps: <job id> = its status
    drained                      string: present while no job is taken
    submission:<token>           string: '<first id> <how many>', with ' confirmed' behind it when its key was
                                 repeated; or 'abandoned'
    submission-key:<key>         string: '<first id> <how many> <token> <digest>' of the submission that had it first

  KEYS[4] 'gannet:lock:'         prefix of the locks, see libs/locking's lock-rules.lua

  A job's hash. Times are µs since 1970. The status of an opcode follows from `status` and `at`. Flags are present
  or absent.
    ops, summary                 JSON lists, written once
    count                        how many opcodes
    requester, received
    status                       the job's
    at                           index of the first opcode that has not succeeded; `count` when all have
    priorities                   of each opcode, with spaces between
    priority                     the smallest one from `at` on
    depends                      lines '<opcode index> <job id> <accepted statuses with commas, or *>'
    made.<i>                     the first of the jobs that opcode i submitted when it succeeded
    start, end                   of the job
    start.<i> exec.<i> end.<i> result.<i>     of opcode i
    claim                        token of the call that began the opcode; '' when nobody has it in hand
    parked                       flag, in status waiting: it waits for locks, or is to be begun anew
    blocked                      the job whose end this one waits for
    awaited                      flag: there are dependants
    undo                         flag: there is an undo list
    canceled                     'queue' or 'request': where a cancel met it
    logs                         how many log entries there are
    archived                     flag
]]
local job_prefix, jobs = KEYS[2], KEYS[3]
local FINAL = { canceled = true, success = true, error = true }
local ACTIVE_RANK = { waiting = 1, canceling = 2, running = 3 }
local CHANGES_KEPT = 100000
-- Not at each entry: a trim costs the append-only file as much as the entry itself.
local TRIMMED_AFTER = '000$'

local function microseconds()
  local time = redis.call('TIME')
  return time[1] .. string.format('%06d', time[2])
end

local function announce(id, status)
  local change = redis.call('XADD', jobs .. 'changes', '0-*', id, status)
  if change:find(TRIMMED_AFTER) then redis.call('XTRIM', jobs .. 'changes', 'MAXLEN', '~', CHANGES_KEPT) end
end

-- The job gets a status in which somebody has it in hand, and other fields with it.
local function activate(id, key, status, ...)
  redis.call('HSET', key, 'status', status, ...)
  redis.call('ZADD', jobs .. 'active', ACTIVE_RANK[status], id)
  announce(id, status)
end

-- An active job is back in the queue and can be begun at once; whoever does this lets it be woken.
local function requeue(id, key, priority, ...)
  redis.call('HSET', key, 'status', 'queued', ...)
  redis.call('ZREM', jobs .. 'active', id)
  redis.call('ZADD', jobs .. 'ready', priority, id)
  announce(id, 'queued')
end

-- A queued job waits for the end of another one.
local function block(id, key, dependency)
  redis.call('ZREM', jobs .. 'ready', id)
  redis.call('HSET', key, 'blocked', dependency)
  redis.call('SADD', jobs .. 'dependants:' .. dependency, id)
  redis.call('HSET', job_prefix .. dependency, 'awaited', '1')
end

-- Answers the jobs that can be begun now that this one is over: {id, priority, id, priority, …}.
local function release_dependants(id)
  local waiting = jobs .. 'dependants:' .. id
  local dependants = redis.call('SMEMBERS', waiting)
  table.sort(dependants, function(a, b) return tonumber(a) < tonumber(b) end)
  local woken = {}
  for _, dependant in ipairs(dependants) do
    local key = job_prefix .. dependant
    local priority = redis.call('HGET', key, 'priority')
    redis.call('HDEL', key, 'blocked')
    redis.call('ZADD', jobs .. 'ready', priority, dependant)
    woken[#woken + 1] = dependant
    woken[#woken + 1] = priority
  end
  redis.call('DEL', waiting)
  return woken
end

-- The job reaches a final status, and other fields with it. Answers as release_dependants does.
local function finish(id, key, from, to, time, ...)
  local awaited, undo = unpack(redis.call('HMGET', key, 'awaited', 'undo'))
  redis.call('HSET', key, 'status', to, 'end', time, ...)
  if from ~= 'running' then redis.call('ZREM', jobs .. 'ready', id) end
  if from ~= 'queued' then redis.call('ZREM', jobs .. 'active', id) end
  redis.call('ZADD', jobs .. 'ended', time, id)
  redis.call('HINCRBY', jobs .. 'ends', to, 1)
  if undo then redis.call('DEL', key .. ':undo') end
  announce(id, to)
  return awaited and release_dependants(id) or {}
end

-- 'queue': it had not been picked up. 'request': something was working on it and has let go.
local function finish_canceled(id, key, from, where, ...)
  local blocked = from == 'queued' and redis.call('HGET', key, 'blocked')
  if blocked then
    redis.call('SREM', jobs .. 'dependants:' .. blocked, id)
    redis.call('HDEL', key, 'blocked')
  end
  return finish(id, key, from, 'canceled', microseconds(), 'canceled', where, ...)
end

local function archive(id)
  local key = job_prefix .. id
  local status = redis.call('HGET', key, 'status')
  redis.call('HSET', key, 'archived', '1')
  redis.call('ZREM', jobs .. 'live', id)
  redis.call('ZREM', jobs .. 'ended', id)
  redis.call('ZADD', jobs .. 'archived', id, id)
  redis.call('HINCRBY', jobs .. 'ends', status, -1)
  announce(id, status)
end

-- What the opcode at index `at` finds when it looks at the jobs it depends on, in their order:
-- nil (go on), or 'wait' and the job, 'cancel', or 'error' and a text.
local function look_at_dependencies(id, at, depends)
  for index, dependency, accepted in depends:gmatch('(%d+) (%d+) (%S+)') do
    if index == at then
      if dependency == id then return 'error', 'Dependency error: job ' .. id .. ' depends on itself' end
      -- A job submitted later cannot have been meant, and waiting for it could be a circle.
      local status = tonumber(dependency) < tonumber(id) and redis.call('HGET', job_prefix .. dependency, 'status')
      if not status then return 'error', 'Dependency error: Job ' .. dependency .. ' not found' end
      if not FINAL[status] then return 'wait', dependency end
      local accepts = accepted == '*' and status ~= 'canceled'
      for one in accepted:gmatch('[^,]+') do accepts = accepts or one == status end
      if not accepts and status == 'canceled' then return 'cancel' end
      if not accepts then
        return 'error', 'Dependency job ' .. dependency .. " finished with status '" .. status .. "', not one of '"
          .. accepted:gsub(',', "', '") .. "' as required"
      end
    end
  end
  return nil
end

local function priority_of(priorities, index)
  for priority in priorities:gmatch('%S+') do
    if index == 0 then return priority end
    index = index - 1
  end
end

local function smallest_priority(priorities, from)
  local smallest, index = nil, 0
  for priority in priorities:gmatch('%S+') do
    if index >= from and (smallest == nil or tonumber(priority) < smallest) then smallest = tonumber(priority) end
    index = index + 1
  end
  return smallest or 0
end

-- Give back the job's locks and its waiting request. Answers those whose requests this granted, with `woken`
-- before them: {id, priority, id, priority, …}, all of them to be woken.
local function release_locks(id, woken)
  for _, owner in ipairs(lock_release({ KEYS[1], KEYS[4] }, { ARGV[1], id, 'all' })) do
    woken[#woken + 1] = owner
    woken[#woken + 1] = redis.call('HGET', job_prefix .. owner, 'priority') or '0'
  end
  return woken
end

-- Those whose grant nobody has acted on, behind `woken`: when an answer was lost nobody may know of it.
local function unclaimed_grants(woken)
  for _, owner in ipairs(redis.call('SMEMBERS', KEYS[4] .. 'unclaimed')) do
    local status, priority, parked = unpack(redis.call('HMGET', job_prefix .. owner, 'status', 'priority', 'parked'))
    if status == 'waiting' and parked then
      woken[#woken + 1] = owner
      woken[#woken + 1] = priority
    end
  end
  return woken
end

local function wrong_state(id, at, status, verb)
  return redis.error_reply('WRONG_STATE cannot ' .. verb .. ' opcode ' .. at .. ' of job ' .. id .. ': the job is '
    .. (status or 'unknown') .. ' or is at another opcode')
end

--[[
  The running opcode ends as error and gives its locks back, and with it ends the job; the opcodes behind it are never run.
  Does nothing when it has failed already.

  KEYS    see ledger.lua
  ARGV[1] epoch
  ARGV[2] job id
  ARGV[3] opcode index
  ARGV[4] error                  JSON: [class, arguments]
  Answers {id, priority, …} of jobs that can be begun
  Errors  STALE_EPOCH, WRONG_STATE
]]
local stale = fence(KEYS[1], ARGV[1])
if stale then return stale end

local id, index = ARGV[2], ARGV[3]
local key = job_prefix .. id
local status, at = unpack(redis.call('HMGET', key, 'status', 'at'))
if at == index and status == 'error' then return unclaimed_grants({}) end
if at ~= index or status ~= 'running' then return wrong_state(id, index, status, 'fail') end

local time = microseconds()
return release_locks(id, finish(id, key, status, 'error', time, 'result.' .. at, ARGV[4], 'end.' .. at, time))

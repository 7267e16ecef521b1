--[[
  The running opcode stops before it has done anything, and gives its locks back: it is to be begun anew. Its undo list
  must be empty. A job that was canceled since is left as it is.

  KEYS    see ledger.lua
  ARGV[1] epoch
  ARGV[2] job id
  ARGV[3] opcode index
  ARGV[4] claim                  the token with which the caller began it; '' when it has not
  Answers {id, priority, …} of jobs that can be begun, this one among them
  Errors  STALE_EPOCH, WRONG_STATE
]]
local stale = fence(KEYS[1], ARGV[1])
if stale then return stale end

local id, index = ARGV[2], ARGV[3]
local key = job_prefix .. id
local status, at, claim, undo, priority = unpack(redis.call('HMGET', key, 'status', 'at', 'claim', 'undo', 'priority'))
if status == 'canceling' or status == 'canceled' then return {} end
-- Done before; the answer was lost.
if status and ARGV[4] ~= '' and claim ~= ARGV[4] then return unclaimed_grants({ id, priority }) end
if ARGV[4] == '' or at ~= index or status ~= 'running' then return wrong_state(id, index, status, 'park') end
if undo then
  return redis.error_reply('WRONG_STATE cannot park opcode ' .. index .. ' of job ' .. id .. ': its undo list is not empty')
end

activate(id, key, 'waiting', 'parked', '1', 'claim', '')
redis.call('ZADD', jobs .. 'ready', priority, id)
return release_locks(id, { id, priority })

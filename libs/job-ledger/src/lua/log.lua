--[[
  Add an entry to the log of the opcode that is being worked on. Serials grow over all opcodes of the job.

  KEYS    see ledger.lua
  ARGV[1] epoch
  ARGV[2] job id
  ARGV[3] opcode index
  ARGV[4] type                   JSON
  ARGV[5] payload                JSON
  Errors  STALE_EPOCH, WRONG_STATE
]]
local stale = fence(KEYS[1], ARGV[1])
if stale then return stale end

local id, index = ARGV[2], ARGV[3]
local key = job_prefix .. id
local status, at = unpack(redis.call('HMGET', key, 'status', 'at'))
if at ~= index or status ~= 'running' then return wrong_state(id, index, status, 'log for') end

local time = redis.call('TIME')
local serial = redis.call('HINCRBY', key, 'logs', 1)
redis.call('RPUSH', key .. ':log',
  at .. ' [' .. serial .. ',[' .. time[1] .. ',' .. time[2] .. '],' .. ARGV[4] .. ',' .. ARGV[5] .. ']')
announce(id, status)

--[[
  Move one final job to the archive.

  KEYS    see ledger.lua
  ARGV[1] job id
  Answers 1, or 0 when it is not final, archived already or unknown
]]
local id = ARGV[1]
local key = job_prefix .. id
if redis.call('ZREM', jobs .. 'ended', id) == 0 then return 0 end
local status = redis.call('HGET', key, 'status')
redis.call('HSET', key, 'archived', '1')
redis.call('ZREM', jobs .. 'live', id)
redis.call('ZADD', jobs .. 'archived', id, id)
redis.call('HINCRBY', jobs .. 'counts', status, -1)
announce(id, status)
return 1

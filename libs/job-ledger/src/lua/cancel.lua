--[[
  Ask a job to stop: a queued one ends at once, a waiting one becomes canceling, a running one goes on.

  KEYS    see ledger.lua
  ARGV[1] job id
  Answers {1 or 0, text, {id, priority, …} of jobs that can be begun}
]]
local id = ARGV[1]
local key = job_prefix .. id
local status = redis.call('HGET', key, 'status')
if status == 'queued' then
  return { 1, 'Dequeued job ' .. id, finish_canceled(id, key, status, 'queue') }
end
if status == 'waiting' then
  redis.call('ZREM', jobs .. 'ready', id)
  activate(id, key, 'canceling')
end
if status == 'waiting' or status == 'canceling' then return { 1, 'Job ' .. id .. ' will be canceled', {} } end
if status == 'running' then return { 0, 'Job ' .. id .. " is no longer waiting, can't cancel", {} } end
return { 0, 'Job ' .. id .. ' not found in queue', {} }

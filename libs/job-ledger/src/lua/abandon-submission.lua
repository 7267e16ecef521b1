--[[
  The caller of a submission was told that it failed: see to it that it has. Jobs it made that have not begun are
  canceled, and if it has yet to reach the server it will be refused. Nothing happens when another caller, with the
  same key, was told that it succeeded. When all its jobs are canceled the key stands for nothing any more.

  KEYS    see ledger.lua
  ARGV[1] token
  ARGV[2] token lifetime         s
  ARGV[3] key                    as in submit.lua
  Answers {{ids that had begun and stay}, {id, priority, …} of jobs that can be begun}
]]
local token_key = jobs .. 'submission:' .. ARGV[1]
local before = redis.call('GET', token_key)
if before and before:find(' confirmed$') then return { {}, {} } end
redis.call('SET', token_key, 'abandoned', 'EX', ARGV[2])
if not before or before == 'abandoned' then return { {}, {} } end

local first, number = before:match('^(%d+) (%d+)$')
local begun, woken, is_undone = {}, {}, true
-- Backwards: a dependant ends before the job it waits for, and is not woken by it.
for n = tonumber(first) + tonumber(number) - 1, tonumber(first), -1 do
  local id = string.format('%.0f', n)
  local key = job_prefix .. id
  local status, start = unpack(redis.call('HMGET', key, 'status', 'start'))
  if status == 'queued' and not start then
    for _, word in ipairs(finish_canceled(id, key, status, 'queue')) do woken[#woken + 1] = word end
  else
    is_undone = false
    if not FINAL[status] then begun[#begun + 1] = id end
  end
end
if is_undone and ARGV[3] ~= '' then redis.call('DEL', jobs .. 'submission-key:' .. ARGV[3]) end
return { begun, woken }

--[[
  Put in front of every script that writes on behalf of the leader. Such a script begins with

    local stale = fence(KEYS[1], ARGV[1])
    if stale then return stale end

  so that what a frozen, replaced leader still sends is refused before it reads or writes anything.

    epoch_key  'gannet:epoch', raised by each acquisition of the leader's lease
    epoch      the caller's epoch, a decimal integer
    Answers nil when `epoch` is the present one, else an error reply.
    Errors  STALE_EPOCH
]]
local function fence(epoch_key, epoch)
  local present = redis.call('GET', epoch_key)
  if present == epoch then return nil end
  return redis.error_reply('STALE_EPOCH epoch ' .. tostring(epoch) .. ' is not the present one, ' .. (present or 'none'))
end

--[[
  End the lease, if it is still this candidate's; for a while only its successor, if it names one, can have the next.

  KEYS[1] 'gannet:leader'             hash, see leader-acquire.lua
  KEYS[2] 'gannet:leader:successor'   string, the same
  ARGV[1] token
  ARGV[2] successor         a candidate's name, or '' when anyone may follow
  ARGV[3] reserved          int, milliseconds: how long the others keep back
  Answers 1 when it was, else 0.
]]
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return 0 end
if ARGV[2] ~= '' then redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3]) end
return redis.call('DEL', KEYS[1])

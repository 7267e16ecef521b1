--[[
  Give a turn back, if it is still this holder's: one that lasted too long is another's by now.

  KEYS[1] 'gannet:turn:NAME'   string, the holder
  ARGV[1] holder
  Answers 1 when it was, else 0.
]]
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])

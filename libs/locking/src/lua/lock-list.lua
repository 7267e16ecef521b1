--[[
  All owners with what they hold and wait for, as of one moment.

  KEYS    as in lock-rules.lua
  Answers two lists: owner, held, owner, held, … and owner, request, …, with the JSON texts of lock-rules.lua.
]]
return { redis.call('HGETALL', HELD), redis.call('HGETALL', REQUESTS) }

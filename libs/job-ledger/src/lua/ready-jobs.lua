--[[
  Which jobs can be begun.

  KEYS    see ledger.lua
  Answers {{id, priority, …} of those that wait for nothing, the same of those whose locks were granted meanwhile}
]]
return { redis.call('ZRANGE', jobs .. 'ready', 0, -1, 'WITHSCORES'), unclaimed_grants({}) }

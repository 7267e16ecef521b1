--[[
  Move one final job to the archive.

  KEYS    see ledger.lua
  ARGV[1] job id
  Answers 1, or 0 when it is not final, archived already or unknown
]]
if not redis.call('ZSCORE', jobs .. 'ended', ARGV[1]) then return 0 end
archive(ARGV[1])
return 1

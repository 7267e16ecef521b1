--[[
  Take a token for joining the cluster: once only. Atomic: all checks, and the note that it is taken. fence.lua stands
  before it.

  KEYS[1] 'gannet:epoch'              string: the leader's epoch
  KEYS[2] 'gannet:join-token:<id>'    hash: digest, token (JSON), node, state ('open' or 'taken')
  ARGV[1] epoch            int
  ARGV[2] digest           of the secret that was shown
  ARGV[3] node's name      in lower case: the whole name, or its first label
  ARGV[4] lifetime         seconds that what follows the joining may take
  Answers {'taken', token}; {'unknown'}, {'wrong'} (another secret), {'used'}, {'other', name of the node it is for}.
  Errors  STALE_EPOCH
]]
local stale = fence(KEYS[1], ARGV[1])
if stale then return stale end
local kept = redis.call('HMGET', KEYS[2], 'digest', 'token', 'node', 'state')
if not kept[1] then return {'unknown'} end
if kept[1] ~= ARGV[2] then return {'wrong'} end
if kept[4] ~= 'open' then return {'used'} end
if kept[3] ~= ARGV[3] and string.match(kept[3], '^[^.]+') ~= ARGV[3] then return {'other', kept[3]} end
redis.call('HSET', KEYS[2], 'state', 'taken')
redis.call('EXPIRE', KEYS[2], ARGV[4])
return {'taken', kept[2]}

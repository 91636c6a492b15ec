-- Count what became of a leased segment, and remove its lines or keep them as a dead letter.
--
-- ARGV: prefix, token, name, stored, dead, note of the dead letter or "", what receipts say,
-- how long they do (seconds). Returns 0, with nothing changed, where the lease is another's.
allow_when_full()
local name = ARGV[3]
if not is_owner(name, ARGV[2]) then return 0 end
local segment = key('segment:' .. name)
release(name)
redis.call('ZREM', key('unstored'), name)
redis.call('HINCRBY', key('ledger'), 'stored', ARGV[4])
redis.call('HINCRBY', key('ledger'), 'dead', ARGV[5])
if ARGV[6] ~= '' then
  redis.call('HSET', segment, 'state', 'dead')
  redis.call('HSET', key('dead'), name, ARGV[6])
else
  redis.call('HINCRBY', key('ledger'), 'held', 0 - (redis.call('HGET', segment, 'held') or 0))
  redis.call('DEL', segment, key('lines:' .. name))
  redis.call('SET', key('done:' .. name), ARGV[7], 'EX', ARGV[8])
end
return 1

-- Show what a process does, and note the service's counts, once for each step of time.
--
-- ARGV: prefix, process, its document or "" where it ends, how long it is shown (ms), step (ms), steps
-- that are kept, responses that it has refused since it did this last, the byte budget, objects that
-- are kept, then objects that it has stored since, oldest first.
allow_when_full()
local process, document, keep, step = ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
if document == '' then
  redis.call('HDEL', key('figures'), process)
  redis.call('ZREM', key('published'), process)
else
  redis.call('HSET', key('figures'), process, document)
  redis.call('ZADD', key('published'), now, process)
end
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', key('published'), '-inf', now - keep)) do
  redis.call('HDEL', key('figures'), gone)
  redis.call('ZREM', key('published'), gone)
end
redis.call('PEXPIRE', key('figures'), keep)
redis.call('PEXPIRE', key('published'), keep)
for at = 10, #ARGV do redis.call('LPUSH', key('objects'), ARGV[at]) end
if #ARGV >= 10 then
  redis.call('LTRIM', key('objects'), 0, ARGV[9] - 1)
  redis.call('EXPIRE', key('objects'), 604800)
end
local ledger = key('ledger')
if ARGV[7] ~= '0' then redis.call('HINCRBY', ledger, 'refused', ARGV[7]) end
redis.call('HSET', ledger, 'budget', ARGV[8])
local last = redis.call('LINDEX', key('history'), 0)
if not last or math.floor(last:match('^%d+') / step) < math.floor(now / step) then
  local counts = redis.call('HMGET', ledger, 'accepted', 'stored', 'refused', 'held', 'dead')
  for at = 1, 5 do counts[at] = counts[at] or '0' end
  redis.call('LPUSH', key('history'), string.format('%d ', now) .. table.concat(counts, ' '))
  redis.call('LTRIM', key('history'), 0, ARGV[6] - 1)
  redis.call('PEXPIRE', key('history'), step * ARGV[6])
end
return 1

-- Return what processes show: the server's time (ms); for each that has written within the last
-- ARGV[2] ms when that was, and its document; objects; history; byte budget; segments without a worker.
local found = {}
local ids = redis.call('ZRANGEBYSCORE', key('published'), now - tonumber(ARGV[2]), '+inf', 'WITHSCORES')
for at = 1, #ids, 2 do
  local document = redis.call('HGET', key('figures'), ids[at])
  if document then found[#found + 1] = {string.format('%d', ids[at + 1]), document} end
end
return {
  string.format('%d', now), found,
  redis.call('LRANGE', key('objects'), 0, -1), redis.call('LRANGE', key('history'), 0, -1),
  redis.call('HGET', key('ledger'), 'budget') or '0', redis.call('ZCARD', key('ready')),
}

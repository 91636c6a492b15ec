-- Lease segments that are due to a worker, oldest first.
--
-- Before that: leases that have expired end, and the open segments of a writer whose lease has
-- expired are sealed, so that what it may still send is refused.
--
-- ARGV: prefix, token, lease (ms), most. Returns name, header, lines, size of each.
allow_when_full()
for _, writer in ipairs(redis.call('ZRANGEBYSCORE', key('writers'), '-inf', now, 'LIMIT', 0, 8)) do
  for _, name in ipairs(redis.call('SMEMBERS', key('open:' .. writer))) do
    if redis.call('HGET', key('segment:' .. name), 'state') == 'open' then make_ready(name, now) end
  end
  redis.call('DEL', key('open:' .. writer))
  redis.call('ZREM', key('writers'), writer)
end
for _, name in ipairs(redis.call('ZRANGEBYSCORE', key('leased'), '-inf', now, 'LIMIT', 0, 64)) do
  release(name)
  redis.call('ZADD', key('ready'), now, name)
end
local taken = {}
local due = redis.call('ZRANGEBYSCORE', key('ready'), '-inf', now, 'LIMIT', 0, tonumber(ARGV[4]))
for _, name in ipairs(due) do
  redis.call('ZREM', key('ready'), name)
  local found = redis.call('HMGET', key('segment:' .. name), 'header', 'lines', 'size')
  if found[1] then
    redis.call('ZADD', key('leased'), now + tonumber(ARGV[3]), name)
    redis.call('HSET', key('owners'), name, ARGV[2])
    taken[#taken + 1] = {name, found[1], found[2], found[3]}
  end
end
return taken

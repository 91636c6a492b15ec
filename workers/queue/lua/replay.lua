-- Make a dead letter a segment again that workers may have.
--
-- ARGV: prefix, name. Returns how many payloads it has; 0 where there is no such dead letter.
allow_when_full()
local name = ARGV[2]
local segment = key('segment:' .. name)
if redis.call('HGET', segment, 'state') ~= 'dead' then return 0 end
local lines = tonumber(redis.call('HGET', segment, 'lines'))
redis.call('HDEL', key('dead'), name)
redis.call('HINCRBY', key('ledger'), 'dead', -lines)
redis.call('ZADD', key('unstored'), now, name)
make_ready(name, now)
return lines

-- Move the watermark on: all that was created before it is stored or dead, and nothing older comes.
--
-- ARGV: prefix, token, lease (ms), how far it stays behind the time (ms), an id for a queue that has
-- none. Returns the id and the watermark (ms); nothing where another process publishes it.
allow_when_full()
local found = redis.call('HMGET', key('watermark'), 'id', 'through', 'publisher', 'until')
if found[3] and found[3] ~= ARGV[2] and tonumber(found[4]) > now then return {} end
local through = now - ARGV[4]
local oldest = redis.call('ZRANGE', key('unstored'), 0, 0, 'WITHSCORES')
if oldest[2] then through = math.min(through, tonumber(oldest[2])) end
through = string.format('%.0f', math.max(through, tonumber(found[2] or '0')))
local id = found[1] or ARGV[5]
redis.call('HSET', key('watermark'), 'id', id, 'through', through, 'publisher', ARGV[2])
redis.call('HSET', key('watermark'), 'until', now + tonumber(ARGV[3]))
return {id, through}

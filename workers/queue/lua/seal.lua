-- Seal segments: they take no more, and workers may have them.
--
-- ARGV: prefix, writer, then names.
allow_when_full()
for at = 3, #ARGV do
  local name = ARGV[at]
  if redis.call('HGET', key('segment:' .. name), 'state') == 'open' then make_ready(name, now) end
  redis.call('SREM', key('open:' .. ARGV[2]), name)
end
return 1

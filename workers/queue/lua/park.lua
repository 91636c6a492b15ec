-- Give leased segments back, to be taken later. ARGV: prefix, token, delay (ms), then names.
allow_when_full()
for at = 4, #ARGV do
  local name = ARGV[at]
  if is_owner(name, ARGV[2]) then
    release(name)
    redis.call('ZADD', key('ready'), now + tonumber(ARGV[3]), name)
  end
end
return 1

-- Renew leases. ARGV: prefix, token, lease (ms), then names. Returns the names that are lost.
allow_when_full()
local lost = {}
for at = 4, #ARGV do
  local name = ARGV[at]
  if is_owner(name, ARGV[2]) then
    redis.call('ZADD', key('leased'), now + tonumber(ARGV[3]), name)
  else
    lost[#lost + 1] = name
  end
end
return lost

-- Idempotency keys: end claims, drop keys that have had their time, then claim keys or find them.
--
-- ARGV: prefix, token, lease (ms), how long a key is remembered (seconds), how many keys are, bytes
-- that they may have together, how many may be dropped now, how many claims end, their keys, and
-- the keys to claim. Returns how many keys were dropped early, then of each key: what its record
-- says of its request where it is accepted; 1 if it is the token's now, 0 if another has it.
local seconds, most, bytes = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local last = 8 + tonumber(ARGV[8])
for at = 9, last do
  local claim = key('claim:' .. ARGV[at])
  if redis.call('GET', claim) == ARGV[2] then redis.call('DEL', claim) end
end
local early = 0
for _ = 1, tonumber(ARGV[7]) do
  local oldest = redis.call('LINDEX', key('key_order'), 0)
  if not oldest then break end
  local over = struct.unpack('<I4', oldest) + seconds <= tonumber(time[1])
  local held = tonumber(redis.call('HGET', key('ledger'), 'key_bytes') or '0')
  if not over and redis.call('HLEN', key('keys')) <= most and held <= bytes then break end
  redis.call('LPOP', key('key_order'))
  local digest = oldest:sub(5)
  local found = redis.call('HGET', key('keys'), digest)
  -- One that was accepted again since has another place in the order.
  if found and found:sub(1, 4) == oldest:sub(1, 4) then
    redis.call('HDEL', key('keys'), digest)
    redis.call('HINCRBY', key('ledger'), 'key_bytes', -#found - KEY_BYTES)
    redis.call('HINCRBY', key('ledger'), 'held', -#found - KEY_BYTES)
    if not over then early = early + 1 end
  end
end
local answers = {early}
for at = last + 1, #ARGV do
  local found = redis.call('HGET', key('keys'), ARGV[at])
  if found and struct.unpack('<I4', found) + seconds > tonumber(time[1]) then
    answers[#answers + 1] = found:sub(5)
  else
    local claim = key('claim:' .. ARGV[at])
    local owner = redis.call('GET', claim)
    if owner and owner ~= ARGV[2] then
      answers[#answers + 1] = 0
    else
      redis.call('SET', claim, ARGV[2], 'PX', ARGV[3])
      answers[#answers + 1] = 1
    end
  end
end
return answers

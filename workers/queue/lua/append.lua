-- Append one group: a part to each of some segments, all of them or none.
--
-- ARGV: prefix, writer, lease (ms), byte budget, how many segments, then for each: name, header,
-- created (ms), part number, lines in the part, their bytes, bytes that it holds of the budget, the
-- part. Then, where requests have idempotency keys: how long one is remembered (seconds), and for each
-- its digest and where its payloads are.
-- Returns "ok"; "full": the budget is used up; "fenced": a segment takes no more, or lacks a part;
-- "late": a new one is older than the watermark; or which keys are accepted already, as numbers from 1.
-- But for "ok" nothing was appended. A part that is there already is not appended again, nor are the
-- keys that came with it.
local writer, lease, budget = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local last = 5 + 8 * ARGV[5]
local fresh, more = {}, 0

local function watermark() return tonumber(redis.call('HGET', key('watermark'), 'through') or '0') end

for at = 6, last, 8 do
  local name, part = ARGV[at], tonumber(ARGV[at + 3])
  local found = redis.call('HMGET', key('segment:' .. name), 'parts', 'state')
  local parts = tonumber(found[1] or '0')
  if parts ~= part then
    if parts ~= part - 1 or (parts > 0 and found[2] ~= 'open') then return 'fenced' end
    if part == 1 and redis.call('EXISTS', key('done:' .. name)) == 1 then return 'fenced' end
    if part == 1 and tonumber(ARGV[at + 2]) < watermark() then return 'late' end
    fresh[#fresh + 1] = at
    more = more + tonumber(ARGV[at + 6])
  end
end
local has_keys, key_bytes = #fresh > 0 and #ARGV > last, 0
if has_keys then
  local known = {}
  for at = last + 2, #ARGV, 2 do
    local found = redis.call('HGET', key('keys'), ARGV[at])
    if found and struct.unpack('<I4', found) + ARGV[last + 1] > tonumber(time[1]) then
      known[#known + 1] = (at - last) / 2
    end
    -- One that has had its time makes room.
    key_bytes = key_bytes + #ARGV[at + 1] + 4 + KEY_BYTES - (found and #found + KEY_BYTES or 0)
  end
  if #known > 0 then return known end
  more = more + key_bytes
end
local held = tonumber(redis.call('HGET', key('ledger'), 'held') or '0')
if more > 0 and held + more > budget then return 'full' end
for _, at in ipairs(fresh) do
  local name, part, lines = ARGV[at], tonumber(ARGV[at + 3]), ARGV[at + 4]
  local segment, size = key('segment:' .. name), ARGV[at + 5]
  redis.call('RPUSH', key('lines:' .. name), ARGV[at + 7])
  if part == 1 then
    redis.call('HSET', segment, 'header', ARGV[at + 1], 'state', 'open', 'writer', writer)
    redis.call('SADD', key('open:' .. writer), name)
    redis.call('ZADD', key('unstored'), ARGV[at + 2], name)
  end
  redis.call('HSET', segment, 'parts', part)
  redis.call('HINCRBY', segment, 'lines', lines)
  redis.call('HINCRBY', segment, 'size', size)
  redis.call('HINCRBY', segment, 'held', ARGV[at + 6])
  redis.call('HINCRBY', key('ledger'), 'accepted', lines)
  redis.call('HINCRBY', key('ledger'), 'accepted_bytes', size)
end
if has_keys then
  local accepted = struct.pack('<I4', tonumber(time[1]))
  for at = last + 2, #ARGV, 2 do
    redis.call('HSET', key('keys'), ARGV[at], accepted .. ARGV[at + 1])
    redis.call('RPUSH', key('key_order'), accepted .. ARGV[at])
    redis.call('DEL', key('claim:' .. ARGV[at]))
  end
  redis.call('HINCRBY', key('ledger'), 'key_bytes', key_bytes)
end
if more > 0 then redis.call('HINCRBY', key('ledger'), 'held', more) end
redis.call('ZADD', key('writers'), now + lease, writer)
return 'ok'

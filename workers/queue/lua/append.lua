-- Append one group: a part to each of some segments, all of them or none.
--
-- ARGV: prefix, writer, lease (ms), byte budget, then for each segment: name, header, created (ms),
-- part number, lines in the part, their bytes, bytes that it holds of the budget, the part.
-- Returns "ok"; "full": the budget is used up; "fenced": a segment takes no more, or lacks a part;
-- nothing was appended in either case. A part that is there already is not appended again.
local writer, lease, budget = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local fresh, more = {}, 0
for at = 5, #ARGV, 8 do
  local name, part = ARGV[at], tonumber(ARGV[at + 3])
  local found = redis.call('HMGET', key('segment:' .. name), 'parts', 'state')
  local parts = tonumber(found[1] or '0')
  if parts ~= part then
    if parts ~= part - 1 or (parts > 0 and found[2] ~= 'open') then return 'fenced' end
    if part == 1 and redis.call('EXISTS', key('done:' .. name)) == 1 then return 'fenced' end
    fresh[#fresh + 1] = at
    more = more + tonumber(ARGV[at + 6])
  end
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
if more > 0 then redis.call('HINCRBY', key('ledger'), 'held', more) end
redis.call('ZADD', key('writers'), now + lease, writer)
return 'ok'

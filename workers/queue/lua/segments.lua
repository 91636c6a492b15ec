-- Describe segments. ARGV: prefix, then names. Returns for each that is there: name, header, lines,
-- state (open, ready, dead; or leased: a worker has it).
local found = {}
for at = 2, #ARGV do
  local about = redis.call('HMGET', key('segment:' .. ARGV[at]), 'header', 'lines', 'state')
  local state = about[3]
  if redis.call('HEXISTS', key('owners'), ARGV[at]) == 1 then state = 'leased' end
  if about[1] then found[#found + 1] = {ARGV[at], about[1], about[2], state} end
end
return found

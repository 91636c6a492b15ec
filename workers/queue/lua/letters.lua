-- Return the notes of dead letters, and the bytes of their lines. ARGV: prefix, then names.
local notes, sizes = {}, {}
for at = 2, #ARGV do
  notes[at - 1] = redis.call('HGET', key('dead'), ARGV[at])
  sizes[at - 1] = redis.call('HGET', key('segment:' .. ARGV[at]), 'size')
end
return {notes, sizes}

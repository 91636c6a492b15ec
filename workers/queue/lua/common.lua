-- What every script begins with. All keys share one hash tag, so that one shard serves a service.
--
--   ledger          hash: accepted, accepted_bytes, stored, dead, held (bytes), key_bytes, refused, budget
--   segment:<name>  hash: header, state (open, ready, dead), parts, lines, size, held, writer
--   lines:<name>    list: the parts in order; each is whole lines, compressed or as they are
--   open:<writer>   set: the writer's open segments
--   writers         sorted set: writers by the end of their lease (milliseconds)
--   ready           sorted set: sealed segments that no worker has, by the time they are due
--   leased          sorted set: segments that a worker has, by the end of its lease
--   owners          hash: the token of the worker that has a segment
--   unstored        sorted set: all segments with lines by their creation (milliseconds)
--   dead            hash: the notes of dead letters
--   watermark       hash: id, through (milliseconds), publisher (its token), until
--   done:<name>     string: what became of a segment, for receipts, for a while
--   figures, published, objects, history    what the console shows: workers/figures/queued.py
--   keys            hash: idempotency keys that are accepted, by digest: when (seconds, 4 bytes), where
--   key_order       list: the same keys, oldest first: when, digest
--   claim:<digest>  string: the process that has the right to accept a key, for some seconds
local prefix = ARGV[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- What an idempotency key takes of the server's memory beside its record.
local KEY_BYTES = 150

local function key(name) return prefix .. name end

-- A server that is full refuses a script's first command if that may add data, and none after a
-- command that writes and adds nothing. What drains the queue has to go on, so it begins so.
local function allow_when_full() redis.call('ZREM', key('ready'), '') end

local function make_ready(name, due)
  redis.call('HSET', key('segment:' .. name), 'state', 'ready')
  redis.call('ZADD', key('ready'), due, name)
end

local function is_owner(name, token)
  return redis.call('HGET', key('owners'), name) == token
end

local function release(name)
  redis.call('ZREM', key('leased'), name)
  redis.call('HDEL', key('owners'), name)
end

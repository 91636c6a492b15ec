-- Renew a writer's lease; one that has expired and was taken note of begins anew, with nothing.
--
-- ARGV: prefix, writer, lease (ms).
redis.call('ZADD', key('writers'), now + tonumber(ARGV[3]), ARGV[2])
return 1

-- KEYS sorted set · ARGV member, longest life in ms → 1. Scored by this server's time in ms; what is older than anything
-- can live is removed on the way, so that the set has a bound without a lifetime of its own.
local now = redis.call('TIME')
local at = now[1] * 1000 + math.floor(now[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', at - ARGV[2])
redis.call('ZADD', KEYS[1], at, ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1

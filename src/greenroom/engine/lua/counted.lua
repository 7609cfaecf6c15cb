-- KEYS sorted set · ARGV longest life in ms → members scored within it, by this server's time
local now = redis.call('TIME')
local at = now[1] * 1000 + math.floor(now[2] / 1000)
return redis.call('ZCOUNT', KEYS[1], at - ARGV[1], '+inf')

-- KEYS group · ARGV member → 1. The score is this server's time in microseconds: a drop that read an older score
-- leaves the member in, so that a page registered meanwhile is found by the next drop.
local now = redis.call('TIME')
redis.call('ZADD', KEYS[1], now[1] * 1000000 + now[2], ARGV[1])
return 1

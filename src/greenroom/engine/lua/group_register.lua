-- KEYS group · ARGV member → 1. The score is this server's time in microseconds: a drop that read an older score
-- leaves the member in, so that a page registered meanwhile is found by the next drop.
local now = redis.call('TIME')
local at = now[1] * 1000000 + now[2]
local registered = redis.pcall('ZADD', KEYS[1], at, ARGV[1])
if type(registered) == 'table' then
  if string.sub(registered.err, 1, 9) ~= 'WRONGTYPE' then
    return registered
  end
  redis.call('DEL', KEYS[1]) -- another program has put something else in its place: no page would be stored for ever
  redis.call('ZADD', KEYS[1], at, ARGV[1])
end
return 1

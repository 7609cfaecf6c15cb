-- KEYS session life touched · ARGV value as read, json before and after the timestamp, lifetime, interval in ms, who
-- writes, '1' for a touch → {'written', json, when it was begun} | {'differs', json} | {'gone'}
--
-- The value is compared byte for byte as it was read. Prevents: A reads · B reads · B writes · A writes, and B's change is
-- lost; and: A reads · the session ends · A writes, and it is back.
--
-- A session that has not been used since it began lives shortly; the first write gives it the rest of its life, once: the
-- same write takes the '+' away. As two writes: it is used · the reply is lost, and the repetition adds it again.
local json, begun = text(KEYS[1]), text(KEYS[2])
local left = redis.call('PTTL', KEYS[2])
if not json or not begun or left <= 0 then
  -- Without `life` it is over, whoever has written the value; and without a value no later one shall find `life`.
  redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
  return {'gone'}
end
local writer = text(KEYS[3])
local more = writer and string.match(writer, '^%+(%d+)$')
if writer == ARGV[6] or (writer and not more and ARGV[7] == '1') then
  -- The reply to this very write was lost; or another request of this minute has touched it.
  return {'written', json, begun}
end
if json ~= ARGV[1] then
  return {'differs', json}
end
json = ARGV[2] .. timestamp(redis.call('TIME')) .. ARGV[3]
left = left + (more or 0)
-- A session with a lifetime of its own has its idle limit behind the time of its beginning.
local idle = string.match(begun, ' (%d+) %d+$')
local lifetime = idle and idle + ARGV[5] or tonumber(ARGV[4])
redis.call('SET', KEYS[1], json, 'PX', math.min(lifetime, left))
redis.call('SET', KEYS[3], ARGV[6], 'PX', math.min(tonumber(ARGV[5]), left))
if more then
  redis.call('PEXPIRE', KEYS[2], left)
end
return {'written', json, begun}

-- KEYS session life touched · ARGV value as read, json before and after the timestamp, lifetime, interval in ms,
-- '1' for a touch → {'ok'} | {'conflict', value} | {'gone'}
--
-- The value is compared byte for byte as it was read. Prevents: A reads · B reads · B writes · A writes, and B's change is
-- lost; and: A reads · the session ends · A writes, and it is back.
local value = redis.call('GET', KEYS[1])
local left = redis.call('PTTL', KEYS[2])
if not value or left <= 0 then
  -- Without `life` it is over, whoever has written the value.
  redis.call('DEL', KEYS[1], KEYS[3])
  return {'gone'}
end
if ARGV[6] == '1' and redis.call('EXISTS', KEYS[3]) == 1 then
  return {'ok'} -- another request of this minute has touched it
end
if value ~= ARGV[1] then
  return {'conflict', value}
end
local lifetime = math.min(tonumber(ARGV[4]), left)
redis.call('SET', KEYS[1], ARGV[2] .. timestamp(redis.call('TIME')) .. ARGV[3], 'PX', lifetime)
redis.call('SET', KEYS[3], '1', 'PX', math.min(tonumber(ARGV[5]), left))
return {'ok'}

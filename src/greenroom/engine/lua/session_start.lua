-- KEYS session life touched ended · ARGV json before and after the timestamp, lifetime, absolute, interval in ms
-- → 1 begun, 0 refused
--
-- Refuses a marked id. Prevents: a log-in lists its id · end-all reads the list and ends the id · the log-in creates it.
local now = redis.call('TIME')
if redis.call('EXISTS', KEYS[4], KEYS[1]) > 0 then
  return 0
end
local lifetime = math.min(tonumber(ARGV[3]), tonumber(ARGV[4]))
redis.call('SET', KEYS[1], ARGV[1] .. timestamp(now) .. ARGV[2], 'PX', lifetime)
redis.call('SET', KEYS[2], '1', 'PX', ARGV[4])
redis.call('SET', KEYS[3], '1', 'PX', ARGV[5])
return 1

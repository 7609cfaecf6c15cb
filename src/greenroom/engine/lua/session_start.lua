-- KEYS session life touched ended · ARGV json before and after the timestamp, lifetime, life, interval in ms, when it
-- was begun ('' now), when it was listed and the longest delay since in ms, what stands in touched: '1', or '+' and the ms
-- that the first use adds to its life, what stands behind the time of its beginning: '' or, of a session with a lifetime of
-- its own, ' ' idle limit ' ' absolute limit in ms
-- → {json, when it was begun} | false: refused
--
-- Refuses a marked id. Prevents: a log-in lists its id · end-all reads the list, ends the id and takes it from the list ·
-- the log-in creates it, and no end-all finds it. And what comes late, when that mark may have lapsed: a server that was
-- stopped reads a command that nobody waits for any more.
local now = redis.call('TIME')
if redis.call('EXISTS', KEYS[4]) == 1 or now[1] * 1000 + now[2] / 1000 - ARGV[7] > tonumber(ARGV[8]) then
  return false
end
local already = text(KEYS[2])
if already then
  -- An id is made for one start: it was ours, the reply was lost, and this is the repetition.
  return {text(KEYS[1]), already}
end
local at = timestamp(now)
local json = ARGV[1] .. at .. ARGV[2]
local begun = ARGV[6] == '' and at .. ARGV[10] or ARGV[6]
redis.call('SET', KEYS[1], json, 'PX', math.min(tonumber(ARGV[3]), tonumber(ARGV[4])))
redis.call('SET', KEYS[2], begun, 'PX', ARGV[4])
redis.call('SET', KEYS[3], ARGV[9], 'PX', math.min(tonumber(ARGV[5]), tonumber(ARGV[4])))
return {json, begun}

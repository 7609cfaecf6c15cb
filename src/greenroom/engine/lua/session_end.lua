-- KEYS session life touched grace ended streams · ARGV who ends it, mark in ms, what: 'one', 'any' to mark even what is
-- not there, 'alive' to do nothing unless it is alive → 1 ended, 0 was over
--
-- The copy of a rotation goes too, but not where a rotation's own end is sent again. The mark keeps a start under way
-- from creating the id.
local json = redis.pcall('GET', KEYS[1])
local alive = json and redis.call('PTTL', KEYS[2]) > 0
if ARGV[3] == 'alive' and not alive then
  return 0
end
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[6])
if text(KEYS[5]) == ARGV[1] then
  return 1 -- the reply was lost, and this is the repetition
end
if alive or ARGV[3] == 'any' then
  redis.call('SET', KEYS[5], alive and ARGV[1] or '', 'PX', ARGV[2])
end
return alive and 1 or 0

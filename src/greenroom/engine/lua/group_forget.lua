-- KEYS group · ARGV longest lifetime in ms, then member, score, member, score, … → 1, or 0 where there is no group
--
-- Removes what was dropped. Prevents: a drop reads the members · a page registers again and is filled · the drop removes
-- its member · the next change does not find the page. A member whose score has changed stays.
if redis.call('TYPE', KEYS[1]).ok ~= 'zset' then
  return 0
end
for i = 2, #ARGV, 2 do
  local score = redis.call('ZSCORE', KEYS[1], ARGV[i])
  if score and tonumber(score) == tonumber(ARGV[i + 1]) then
    redis.call('ZREM', KEYS[1], ARGV[i])
  end
end
-- Older than any value can live: nothing of theirs is left to drop.
local now = redis.call('TIME')
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now[1] * 1000000 + now[2] - ARGV[1] * 1000)
return 1

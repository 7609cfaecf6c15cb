-- KEYS group · ARGV longest lifetime in ms, the members' scores in one text, member, member, … → 1, or 0 where there is
-- no group
--
-- Removes what was dropped. Prevents: a drop reads the members · a page registers again and is filled · the drop removes
-- its member · the next change does not find the page. A member whose score has changed stays. Each is compared, and no
-- newest one: the clock of the server, or of its successor, can go back, and a later registration have a lower score.
if redis.call('TYPE', KEYS[1]).ok ~= 'zset' then
  return 0
end
if #ARGV > 2 then
  local scores = redis.call('ZMSCORE', KEYS[1], unpack(ARGV, 3))
  local same, i = {}, 0
  for read in string.gmatch(ARGV[2], '%S+') do
    i = i + 1
    if scores[i] and tonumber(scores[i]) == tonumber(read) then
      same[#same + 1] = ARGV[i + 2]
    end
  end
  if #same > 0 then
    redis.call('ZREM', KEYS[1], unpack(same))
  end
end
-- Older than any value can live: nothing of theirs is left to drop.
local now = redis.call('TIME')
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now[1] * 1000000 + now[2] - ARGV[1] * 1000)
return 1

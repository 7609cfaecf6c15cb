-- KEYS leader · ARGV token, life in ms (0 gives the place up) → 1 this process leads, 0 another does, or nobody
--
-- Takes the place and keeps it, in one script. Prevents: A reads its own token · A's place lapses · B takes it · A writes
-- its token again, and both lead for a whole life.
local leader = text(KEYS[1])
if leader == ARGV[1] then
  -- Nothing is written that takes memory. Prevents: the server has none left and refuses SET, though it would still drop
  -- what a change made stale · nobody leads.
  if ARGV[2] == '0' then
    redis.call('DEL', KEYS[1])
    return 0
  end
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return 1
end
if ARGV[2] == '0' then
  return 0
end
if leader then
  -- Nobody's place has more left than a life, or for ever. Prevents: the clock of the server goes back by an hour · the
  -- leader dies · nobody leads for as long.
  local left = redis.call('PTTL', KEYS[1])
  if left >= 0 and left <= tonumber(ARGV[2]) then
    return 0
  end
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1

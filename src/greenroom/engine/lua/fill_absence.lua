-- KEYS value lease absence · ARGV token, memory in ms → 1 remembered, 0 refused
--
-- The rule of fill, for a record that holds nothing. Prevents: A finds nothing · B creates it and invalidates · A
-- stores the absence, and B's object is unseen until that lapses. A refresh that finds nothing deletes.
local generation = lease_holds(KEYS[1], KEYS[2], ARGV[1])
if not generation then
  return 0
end
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[3], generation ~= '' and generation or '1', 'PX', ARGV[2]) -- its mark is its own text
redis.call('DEL', KEYS[2])
return 1

-- KEYS value lease absence, and mark where the keyspace was dropped of late · ARGV token, json, lifetime in ms
-- → 1 stored, 0 refused
--
-- Prevents: A loads the old record · B changes it and invalidates · A stores the old value for its whole lifetime.
-- The invalidation deletes the lease, and without its token in the lease nobody may store. The hash keeps a foreign
-- writer's newer value: it is not the one that the lease was taken over.
-- The mark says the generation that was known when the lease was asked for, and not the one that is known now. Prevents: A
-- takes a lease and loads the old record · the keyspace is dropped, and A hears of it · A stores the old value as current.
local generation = lease_holds(KEYS[1], KEYS[2], ARGV[1])
if not generation then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
if KEYS[4] and generation ~= '' then
  redis.call('SET', KEYS[4], generation, 'PX', ARGV[3])
end
redis.call('DEL', KEYS[2], KEYS[3])
return 1

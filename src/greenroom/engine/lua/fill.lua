-- KEYS value lease absence · ARGV token, json, lifetime in ms → 1 stored, 0 refused
--
-- Prevents: A loads the old record · B changes it and invalidates · A stores the old value for its whole lifetime.
-- The invalidation deletes the lease, and without its token in the lease nobody may store. The hash keeps a foreign
-- writer's newer value: it is not the one that the lease was taken over.
local lease = text(KEYS[2])
if not lease or string.sub(lease, 1, #ARGV[1]) ~= ARGV[1] then
  return 0
end
local value = redis.pcall('GET', KEYS[1])
local hash = ''
if type(value) == 'table' then
  hash = '?'
elseif value then
  hash = redis.sha1hex(value)
end
if hash ~= string.sub(lease, #ARGV[1] + 2) then
  redis.call('DEL', KEYS[2])
  return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('DEL', KEYS[2], KEYS[3])
return 1

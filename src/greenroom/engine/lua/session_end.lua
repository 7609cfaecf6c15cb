-- KEYS session life touched grace ended · ARGV mark in ms, copy in ms (0: none) → {value or false, life left in ms}
--
-- Ends a session, and for a rotation leaves its old value as a copy to read for requests under way. One script, so that
-- of two rotations one finds the value and the other nothing. The mark keeps a start under way from creating the id.
local value = redis.call('GET', KEYS[1])
local left = redis.call('PTTL', KEYS[2])
if left <= 0 then
  value = false
end
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
redis.call('SET', KEYS[5], '1', 'PX', ARGV[1])
if value and ARGV[2] ~= '0' then
  redis.call('SET', KEYS[4], value, 'PX', ARGV[2])
else
  redis.call('DEL', KEYS[4])
end
return {value, left}

-- KEYS value · ARGV SHA-1 of what was filled → its PTTL, or -3 where the value is another by now
--
-- Sent in one write with fill, so that what a load stores can be kept near. Prevents: it is kept at fill's own reply ·
-- the push that fill itself causes drops it · or that push is passed over · a foreign write in between is not seen.
-- This reply comes after fill's pushes, and from its read on every change is pushed.
local value = redis.pcall('GET', KEYS[1])
if type(value) ~= 'string' or redis.sha1hex(value) ~= ARGV[1] then
  return -3
end
return redis.call('PTTL', KEYS[1])

-- KEYS value · ARGV the value as it was read, '' where there was none, the new one, '' to delete it, lifetime in ms
-- → 1 written | 0 it is another
--
-- Compares byte for byte, in one script. Prevents: A reads · B reads · B writes · A writes, and B's change is lost.
if (text(KEYS[1]) or '') ~= ARGV[1] then
  return 0
end
if ARGV[2] == '' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
return 1

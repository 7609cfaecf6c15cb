-- KEYS value · ARGV amount, lifetime in ms, '1' to create it → the number after it, as text above 2^53 | false: not there
--
-- One script, so that the lifetime is set by whoever creates the number, and by nobody else. As two commands: it is
-- created · its process dies before it gives a lifetime · it is counted in for ever. And as a SET and an INCRBY: two
-- create it at once · the second SET takes the first one's count away.
if ARGV[3] == '1' then
  redis.call('SET', KEYS[1], '0', 'PX', ARGV[2], 'NX') -- no read: it would have every other increment pushed
elseif redis.call('EXISTS', KEYS[1]) == 0 then
  return false
end
local number = redis.pcall('INCRBY', KEYS[1], ARGV[1])
if type(number) == 'table' then
  if string.sub(number.err, 1, 9) ~= 'WRONGTYPE' then
    return number
  end
  redis.call('DEL', KEYS[1]) -- another program has put something else in its place
  if ARGV[3] ~= '1' then
    return false
  end
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  number = tonumber(ARGV[1])
end
if math.abs(number) < 9007199254740992 then
  return number
end
return redis.call('GET', KEYS[1]) -- a script's numbers are exact to here only

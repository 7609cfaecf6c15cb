-- KEYS sorted set · ARGV longest stay in ms, '1' for the members → how many there are by this server's time, or which
if redis.call('TYPE', KEYS[1]).ok ~= 'zset' then
  return ARGV[2] == '1' and {} or 0 -- nobody, or what another program has put there
end
local now = redis.call('TIME')
local since = '(' .. string.format('%d', now[1] * 1000 + math.floor(now[2] / 1000) - ARGV[1])
if ARGV[2] == '1' then
  return redis.call('ZRANGEBYSCORE', KEYS[1], since, '+inf')
end
return redis.call('ZCOUNT', KEYS[1], since, '+inf')

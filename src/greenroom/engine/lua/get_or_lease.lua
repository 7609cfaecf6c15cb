-- KEYS value lease absence · ARGV token, lease life in ms, SHA-1 of a value the caller will not take (or '')
-- → {'value', json, pttl} | {'absent', pttl} | {'lead'} | {'wait', pttl} | {'failed', kind, pttl}
--
-- One script, since between a look and a SET NX another process could fill and release, and the key be loaded twice.
-- Every branch ends with the caller tracking value, lease and absence: a push then wakes it or closes its flight.
local value = redis.pcall('GET', KEYS[1])
local hash = ''
if type(value) == 'table' then
  hash = '?' -- of another type: leased over and replaced, as JSON that fits no schema is
elseif value then
  hash = redis.sha1hex(value)
end
if hash ~= '' and hash ~= '?' and hash ~= ARGV[3] then
  return {'value', value, redis.call('PTTL', KEYS[1])}
end
if hash == '' then
  -- After the value: one that was created since its absence was remembered must be seen.
  local absent = redis.call('PTTL', KEYS[3])
  if absent > 0 then
    return {'absent', absent}
  end
end
local lease = redis.call('GET', KEYS[2])
if lease and string.sub(lease, 1, 7) == 'failed:' then
  return {'failed', string.sub(lease, 8), redis.call('PTTL', KEYS[2])}
end
if lease and string.sub(lease, 1, #ARGV[1]) ~= ARGV[1] then
  return {'wait', redis.call('PTTL', KEYS[2])}
end
if not lease then
  redis.call('SET', KEYS[2], ARGV[1] .. ':' .. hash, 'PX', ARGV[2])
end
-- Our own SET has ended our tracking of the lease; without this read an invalidation made elsewhere would reach
-- nobody here, and callers would go on joining a load that began before it.
redis.call('GET', KEYS[2])
return {'lead'}

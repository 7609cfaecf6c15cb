-- KEYS value lease absence, and mark where the keyspace was dropped of late · ARGV token, lease life in ms, SHA-1 of a
-- value the caller will not take (or ''), the keyspace's generation as the caller knows it (or '')
-- → {'value', json, pttl} | {'absent', pttl} | {'lead'} | {'wait', pttl} | {'failed', kind, pttl} | {'newer', generation}
--
-- One script, since between a look and a SET NX another process could fill and release, and the key be loaded twice.
-- Every branch ends with the caller tracking value, lease and absence: a push then wakes it or closes its flight.
-- Until a lease is taken nothing is read but by GETEX, which never tracks. Prevents: the leader reads, and so tracks,
-- the lease · takes it · is pushed its own SET, and closes its flight to its own process's callers.
local function all_tracked(answer)
  redis.call('EXISTS', KEYS[1], KEYS[2], KEYS[3])
  return answer
end
local function is_foreign(reply) -- of another type, as only another program can have put it there
  return type(reply) == 'table' and string.sub(reply.err, 1, 9) == 'WRONGTYPE'
end
-- False too for what is of another type: passed over, and replaced by the lease, or by what is filled.
local function untracked(key)
  local found = redis.pcall('GETEX', key)
  if type(found) ~= 'table' then
    return found
  end
  return not is_foreign(found) and redis.call('GETEX', key) -- again, so that a refusal of the server is the script's own
end
-- What is stored or leased under an older generation than the caller's counts as none. Prevents: A takes a lease and loads
-- the old record · the keyspace is dropped · B waits for A, and is given what A has stored.
local known = ARGV[4] or ''
local function is_current(mark)
  return not KEYS[4] or mark == known
end
local function moment(generation)
  return tonumber(string.match(generation, '^(%d+)%-%x+$') or 0)
end
-- Changes nothing, and is refused out of memory. It comes first, since after GETEX, which counts as a write, the server
-- would let this script take a lease there: each process would then load in its turn, and store nothing.
local full = redis.pcall('SETRANGE', KEYS[2], 0, '')
local value = redis.pcall('GETEX', KEYS[1])
local hash = ''
if type(value) == 'table' then
  hash = '?' -- of another type: leased over and replaced, as JSON that fits no schema is
elseif value then
  hash = redis.sha1hex(value)
end
if hash ~= '' and hash ~= '?' and hash ~= ARGV[3] and is_current(KEYS[4] and untracked(KEYS[4])) then
  return all_tracked({'value', value, redis.call('PTTL', KEYS[1])})
end
local absence = hash == '' and untracked(KEYS[3])
if absence and is_current(absence) then
  -- After the value: one that was created since its absence was remembered must be seen.
  return all_tracked({'absent', redis.call('PTTL', KEYS[3])})
end
local lease = untracked(KEYS[2])
if lease and string.sub(lease, 1, #ARGV[1]) ~= ARGV[1] then
  -- No lease has more left than a lease's life, no failure more than a minute, and neither for ever: it has lapsed.
  -- Prevents: the clock of the server goes back by an hour · a lease that nobody holds is waited for as long.
  local left = redis.call('PTTL', KEYS[2])
  local longest = string.sub(lease, 1, 7) == 'failed:' and 60000 or tonumber(ARGV[2])
  if left < 0 or left > longest then
    lease = false
  end
end
if lease and string.sub(lease, 1, 7) == 'failed:' then
  return all_tracked({'failed', string.sub(lease, 8), redis.call('PTTL', KEYS[2])})
end
if lease then
  local generation = string.match(lease, '^[^:]*:[^:]*:(.+)$') or ''
  if moment(generation) > moment(known) then
    return {'newer', generation}
  elseif moment(generation) < moment(known) then
    lease = false
  end
end
if lease and string.sub(lease, 1, #ARGV[1]) ~= ARGV[1] then
  return all_tracked({'wait', redis.call('PTTL', KEYS[2])})
end
if not lease then
  if type(full) == 'table' and not is_foreign(full) then
    return full
  end
  local generation = known ~= '' and ':' .. known or ''
  redis.call('SET', KEYS[2], ARGV[1] .. ':' .. hash .. generation, 'PX', ARGV[2])
end
-- Only now: else an invalidation made elsewhere would reach nobody here, and callers would go on joining a load that
-- began before it.
return all_tracked({'lead'})

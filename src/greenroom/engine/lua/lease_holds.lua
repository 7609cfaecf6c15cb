-- Whether a token's lease still holds, for what its holder has loaded → the generation that was known when the lease was
-- asked for ('' for none) | nil: another holds it, or the value is not the one that the lease was taken over.
local function lease_holds(value, lease, token)
  local held = text(lease)
  if not held or string.sub(held, 1, #token) ~= token then
    return nil
  end
  local stored = redis.pcall('GET', value)
  local hash = ''
  if type(stored) == 'table' then
    hash = '?'
  elseif stored then
    hash = redis.sha1hex(stored)
  end
  local over, generation = string.match(string.sub(held, #token + 2), '^([^:]*):?(.*)$')
  if hash ~= over then
    redis.call('DEL', lease)
    return nil
  end
  return generation
end

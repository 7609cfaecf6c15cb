-- Prepended to the scripts that need it: the text of a key; false where there is none. What another program has put there
-- in another type is none either: it is passed over, and replaced where the script writes.
local function text(key)
  local found = redis.pcall('GET', key)
  if type(found) ~= 'table' then
    return found
  end
  -- Again, so that any other error is the script's own: a refusal of the server says nothing of the key.
  return string.sub(found.err, 1, 9) ~= 'WRONGTYPE' and redis.call('GET', key)
end

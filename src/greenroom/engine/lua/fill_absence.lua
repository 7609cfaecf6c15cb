-- KEYS value lease absence · ARGV token, memory in ms → 1 remembered, 0 refused
--
-- The rule of fill, for a record that holds nothing. Prevents: A finds nothing · B creates it and invalidates · A
-- stores the absence, and B's object is unseen until that lapses. A refresh that finds nothing deletes.
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
local over, generation = string.match(string.sub(lease, #ARGV[1] + 2), '^([^:]*):?(.*)$')
if hash ~= over then
  redis.call('DEL', KEYS[2])
  return 0
end
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[3], generation ~= '' and generation or '1', 'PX', ARGV[2]) -- its mark is its own text
redis.call('DEL', KEYS[2])
return 1

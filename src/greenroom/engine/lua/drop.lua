-- KEYS keys · ARGV prefix of all of them → 1
--
-- Drops each key with its lease and its absence, whose names are made here: sent, they would be two thirds of 3 MB for
-- 10,000 keys. The names are not among KEYS, so this is for one server alone, never for a cluster.
--
-- The leases go first, as in each drop of one key. Prevents: of a script that the server breaks off, a value is dropped ·
-- its lease is left, and whoever holds it stores the old value. Not all in one command: a Lua call takes 8,000 arguments.
local leases, absences = {}, {}
for i, key in ipairs(KEYS) do
  leases[i] = ARGV[1] .. 'lease:{' .. key .. '}'
  absences[i] = ARGV[1] .. 'absent:{' .. key .. '}'
end
for _, names in ipairs({leases, KEYS, absences}) do
  for first = 1, #names, 5000 do
    redis.call('DEL', unpack(names, first, math.min(first + 4999, #names)))
  end
end
return 1

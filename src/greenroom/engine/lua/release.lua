-- KEYS lease · ARGV token, kind of failure (or ''), back-off in ms → 1 released, 0 not ours
--
-- A failure is left in the lease's place for a short back-off: all who wait or come are told, and none begins the same
-- load at once. Never touches another's lease: ours may have lapsed during the load. A server without memory takes no
-- failure; the lease is then only given back, or all who wait would wait for its end.
local lease = text(KEYS[1])
if not lease or string.sub(lease, 1, #ARGV[1]) ~= ARGV[1] then
  return 0
end
if ARGV[2] == '' or redis.pcall('SET', KEYS[1], 'failed:' .. ARGV[2], 'PX', ARGV[3]).err then
  redis.call('DEL', KEYS[1])
end
return 1

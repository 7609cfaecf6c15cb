-- KEYS lease · ARGV token, lease life in ms → 1 renewed, 0 not ours any more
--
-- Prevents: A's lease lapses · B takes its own, and loads · A renews it, and B's is never given up while A lives.
-- It reads the lease first and last, so that exactly one push of its own follows its reply: read before, the write is
-- always pushed; read after, the next change is pushed too. The leader can so tell its own push from an invalidation.
local lease = text(KEYS[1])
if not lease or string.sub(lease, 1, #ARGV[1]) ~= ARGV[1] then
  return 0
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('EXISTS', KEYS[1])
return 1

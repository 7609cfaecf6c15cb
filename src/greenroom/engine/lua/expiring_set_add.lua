-- KEYS sorted set · ARGV member, longest stay, this member's stay in ms → 1. The score is this server's time in ms, put
-- back by what this member stays less than the longest: all leave at one age. What has stayed longer is removed on the
-- way, and the set lapses with its last member: it is bounded, and no SCAN need ever clean up.
local now = redis.call('TIME')
local at = now[1] * 1000 + math.floor(now[2] / 1000)
-- First: a server without memory refuses it, and a script that has not written yet.
local score = at - (ARGV[2] - ARGV[3])
local entered = redis.pcall('ZADD', KEYS[1], score, ARGV[1])
if type(entered) == 'table' then
  if string.sub(entered.err, 1, 9) ~= 'WRONGTYPE' then
    return entered
  end
  redis.call('DEL', KEYS[1]) -- another program has put something else in its place: nobody could enter for ever
  redis.call('ZADD', KEYS[1], score, ARGV[1])
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', at - ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1

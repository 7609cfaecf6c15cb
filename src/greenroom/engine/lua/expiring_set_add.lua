-- KEYS sorted set · ARGV member, usual stay, this member's stay in ms → 1. The score is the time, in ms of this server,
-- when this member leaves, put back by the usual stay: all leave at one age, those that stay for longer too. What has
-- left is removed on the way, and the set lapses with its last member: it is bounded, and no SCAN need ever clean up.
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
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[3]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return 1

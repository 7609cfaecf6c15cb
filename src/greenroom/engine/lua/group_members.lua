-- KEYS group → member, score, member, score, …
--
-- What another program has put there in another type has none. A script only for the form of its reply: asked for by ZRANGE, 10,000 members are as many lists with a number each, which
-- take a client three times as long to read, and their scores would be written as text again for group_forget.
if redis.call('TYPE', KEYS[1]).ok ~= 'zset' then
  return {}
end
return redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')

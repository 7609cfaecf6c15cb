-- KEYS session life touched grace ended streams · ARGV value as read, who takes it, mark and copy in ms
-- → {'taken', what is left of life in ms, when it was begun} | {'differs', json} | {'gone'}
--
-- Begins a rotation: the old session ends, and its old value stays for a moment to be read by requests under way. One
-- script, so that of two rotations one takes the session and the other finds nothing, and a crash after it signs out,
-- never in. The value is compared as it was read, so that a change made meanwhile goes along.
local json, begun = text(KEYS[1]), text(KEYS[2])
local left = redis.call('PTTL', KEYS[2])
if not json or not begun or left <= 0 then
  local mark = text(KEYS[5])
  if mark and string.sub(mark, 1, #ARGV[2]) == ARGV[2] then
    -- The reply was lost, and this is the repetition.
    local space = string.find(mark, ' ', #ARGV[2] + 2, true)
    return {'taken', tonumber(string.sub(mark, #ARGV[2] + 2, space - 1)) or 0, string.sub(mark, space + 1)}
  end
  return {'gone'}
end
if json ~= ARGV[1] then
  return {'differs', json}
end
-- Not used since it began: its successor has the rest of its life all the same.
left = left + (string.match(text(KEYS[3]) or '', '^%+(%d+)$') or 0)
-- The copy first: a server without memory refuses it, and nothing has been done. After a DEL it would refuse no more, but
-- then the successor, and the session would be lost.
redis.call('SET', KEYS[4], json, 'PX', math.min(tonumber(ARGV[4]), left))
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[6])
redis.call('SET', KEYS[5], ARGV[2] .. ' ' .. left .. ' ' .. begun, 'PX', ARGV[3])
return {'taken', left, begun}

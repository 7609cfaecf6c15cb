-- KEYS a keyspace's generation, or a copy of it · ARGV the greatest that the caller knows (or ''), random digits to begin
-- a new one (or '') → {the greatest of all, this server's time in µs}
--
-- Only ever keeps the greater. Prevents: the key is evicted, or a failover brings an older one back · a process that
-- comes later knows no other · the values of a dropped keyspace are current again.
-- It begins one greater than all that are known, so that a clock that was set back makes none that counts as old.
-- More than 16 digits are none, as for every caller: of a greater number all that are begun would be as great, or be
-- written in digits that no caller takes for a generation.
local function moment(generation)
  local digits = string.match(generation, '^(%d+)%-%x+$') or ''
  return #digits <= 16 and tonumber(digits) or 0
end
local found = text(KEYS[1]) or ''
local now = redis.call('TIME')
local at = now[1] * 1000000 + now[2]
local greatest = found
if moment(greatest) == 0 then
  greatest = '' -- what another program has written is none
end
if moment(ARGV[1]) > moment(greatest) then
  greatest = ARGV[1]
end
if ARGV[2] ~= '' then
  greatest = string.format('%.0f', math.max(at, moment(greatest) + 1)) .. '-' .. ARGV[2]
end
if greatest ~= found and greatest ~= '' then
  local written = redis.pcall('SET', KEYS[1], greatest)
  if ARGV[2] ~= '' and type(written) == 'table' and written.err then
    return written -- none has begun; what is only kept goes on being known to those who know it
  end
end
redis.call('EXISTS', KEYS[1]) -- last, since its own write has ended the tracking
return {greatest, at}

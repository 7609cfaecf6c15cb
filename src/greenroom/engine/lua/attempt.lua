-- KEYS list of the times of attempts · ARGV how many in a window, the window in ms → 0 counted, or ms until one may be
--
-- Looks and counts in one script. Prevents: a hundred guesses at once look, all find nine of ten · all hundred go on.
-- What is refused is not counted, so whoever waits as long as he is told may go on.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local window = tonumber(ARGV[2])
local oldest = redis.pcall('LINDEX', KEYS[1], ARGV[1] - 1)
if type(oldest) == 'table' or (oldest and not tonumber(oldest)) then
  redis.call('DEL', KEYS[1]) -- another program has written it: nobody could sign in for ever
elseif oldest then
  local left = oldest + window - now
  local stays = redis.call('PTTL', KEYS[1])
  if stays < 0 or stays > window then
    redis.call('DEL', KEYS[1]) -- nor does what is written here stay for longer than the window
  elseif left > 0 then
    return math.min(left, window)
  end
end
redis.call('LPUSH', KEYS[1], now)
redis.call('LTRIM', KEYS[1], 0, ARGV[1] - 1)
redis.call('PEXPIRE', KEYS[1], window)
return 0

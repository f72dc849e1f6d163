-- Reads a session and lets it live on: for its idle time from now, but never beyond its end.
-- KEYS: the session. ARGV: its idle time (ms); after how many ms a later use is noted.
-- Returns the fields and values of the session; nothing where there is none.
-- include: clock.lua
local found = redis.call('HGETALL', KEYS[1])
if #found == 0 then return found end
local times = redis.call('HMGET', KEYS[1], 'seen', 'ends')
if now - times[1] >= tonumber(ARGV[2]) then
  redis.call('HSET', KEYS[1], 'seen', now)
  redis.call('PEXPIREAT', KEYS[1], math.min(now + ARGV[1], tonumber(times[2])))
end
return found

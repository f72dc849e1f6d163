-- Makes a session.
-- KEYS: the session. ARGV: its idle time and its longest time (ms); its fields and their values.
-- include: clock.lua
local ends = now + ARGV[2]
redis.call('HSET', KEYS[1], 'created', now, 'seen', now, 'ends', ends, unpack(ARGV, 3))
redis.call('PEXPIREAT', KEYS[1], math.min(now + ARGV[1], ends))
return ends

-- Takes or renews the place of a running transfer among those of its token.
-- KEYS: the places. ARGV: name of the place; how many places there are, or 0 to renew; ms that it lasts.
-- Returns 1: it is held; 0: all places are taken.
-- include: clock.lua
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
local places = tonumber(ARGV[2])
if places > 0 and redis.call('ZCARD', KEYS[1]) >= places then return 0 end
local ends = string.format('%.0f', now + tonumber(ARGV[3]))
redis.call('ZADD', KEYS[1], ends, ARGV[1])
redis.call('PEXPIREAT', KEYS[1], ends)
return 1

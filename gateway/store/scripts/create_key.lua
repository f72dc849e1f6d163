-- Writes a new API key, and what will be known of it once it has expired.
-- KEYS: the API key, its record after expiry. ARGV: name, role, ms that it lives ('' for ever), ms that the
-- record is kept after that. Returns the times `created` and, if it expires, `expires`.
-- include: clock.lua
local created = string.format('%.0f', now)
redis.call('HSET', KEYS[1], 'name', ARGV[1], 'role', ARGV[2], 'created', created)
if ARGV[3] == '' then return {created} end
local expires = string.format('%.0f', now + ARGV[3])
redis.call('HSET', KEYS[1], 'expires', expires)
redis.call('PEXPIREAT', KEYS[1], expires)
redis.call('SET', KEYS[2], expires, 'PXAT', string.format('%.0f', expires + ARGV[4]))
return {created, expires}

-- Writes a new API key.
-- KEYS: the API key. ARGV: name, role. Returns the time `created`.
-- include: clock.lua
local created = string.format('%.0f', now)
redis.call('HSET', KEYS[1], 'name', ARGV[1], 'role', ARGV[2], 'created', created)
return created

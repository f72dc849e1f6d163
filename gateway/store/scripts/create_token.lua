-- Writes a new token.
-- KEYS: the token. ARGV: 'in' or 'at' and ms (from now, or since 1970), then fields and values in turn.
-- Returns the times `created` and `expires`, or 'expiry_past'.
local existing = redis.call('HMGET', KEYS[1], 'created', 'expires')
if existing[1] then return existing end  -- this was sent before, and the reply was lost
-- include: clock.lua
local created, expires = string.format('%.0f', now), ARGV[2]
if ARGV[1] == 'in' then expires = string.format('%.0f', now + ARGV[2]) end
if tonumber(expires) <= now then return 'expiry_past' end
redis.call('HSET', KEYS[1], 'created', created, 'expires', expires, unpack(ARGV, 3))
redis.call('PEXPIREAT', KEYS[1], expires)
return {created, expires}

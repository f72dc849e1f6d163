-- Writes a new token.
-- KEYS: the token. ARGV: 'in' or 'at' and ms (from `created`, or since 1970), `created` as the caller read it from
-- the server a moment ago, then fields and values in turn. If that was not a moment ago, `created` is now.
-- Returns the times `created` and `expires`, or 'expiry_past'.
local existing = redis.call('HMGET', KEYS[1], 'created', 'expires')
if existing[1] then return existing end  -- this was sent before, and the reply was lost
-- include: clock.lua
local created, expires = tonumber(ARGV[3]), tonumber(ARGV[2])
if math.abs(now - created) > 500 then created = now end
if ARGV[1] == 'in' then expires = created + expires end
if expires <= now then return 'expiry_past' end
local times = {string.format('%.0f', created), string.format('%.0f', expires)}
redis.call('HSET', KEYS[1], 'created', times[1], 'expires', times[2], unpack(ARGV, 4))
redis.call('PEXPIREAT', KEYS[1], times[2])
return times

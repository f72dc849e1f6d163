-- Finds the version of a product that a new token gets.
-- KEYS: the product, its versions. ARGV: version ('' for the active one).
-- Returns the time, the product's status, the version and the digest of its manifest; the reply ends before what
-- is missing.
-- include: clock.lua
local product = redis.call('HMGET', KEYS[1], 'status', 'active')
local version = ARGV[1] ~= '' and ARGV[1] or product[2]
return {string.format('%.0f', now), product[1], version, version and redis.call('HGET', KEYS[2], version)}

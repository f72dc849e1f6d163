-- Writes a new product, which has no version yet.
-- KEYS: the product. ARGV: name. Returns 'done' or 'product_exists'.
if redis.call('EXISTS', KEYS[1]) == 1 then return 'product_exists' end
-- include: clock.lua
redis.call('HSET', KEYS[1], 'name', ARGV[1], 'status', 'active', 'created', string.format('%.0f', now))
return 'done'

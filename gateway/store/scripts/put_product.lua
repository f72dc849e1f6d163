-- Writes a product and its versions as they are now, in place of whatever was there.
-- KEYS: the product, its versions. ARGV: the number of fields of the product and their values in pairs, then
-- pairs of version and digest of its manifest.
redis.call('DEL', KEYS[1], KEYS[2])
local last = 1 + 2 * tonumber(ARGV[1])
for index = 2, last, 2 do redis.call('HSET', KEYS[1], ARGV[index], ARGV[index + 1]) end
for index = last + 1, #ARGV, 2 do redis.call('HSET', KEYS[2], ARGV[index], ARGV[index + 1]) end
return 'done'

-- Gives a version another manifest with the same content: its files have moved.
-- KEYS: the product's versions. ARGV: version, digest that it has, digest that it gets.
-- Returns 'done', or 'version_changed' when it has another one meanwhile.
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 'version_changed' end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 'done'

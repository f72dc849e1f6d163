-- Writes an API key, and what will be known of it once it has expired.
-- KEYS: the API key, its record after expiry. ARGV: name, role, created, expires ('' for never), until when the
-- record is kept; times in ms. A time that has passed removes what it is of.
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'name', ARGV[1], 'role', ARGV[2], 'created', ARGV[3])
if ARGV[4] == '' then return 'done' end
redis.call('HSET', KEYS[1], 'expires', ARGV[4])
redis.call('PEXPIREAT', KEYS[1], ARGV[4])
redis.call('SET', KEYS[2], ARGV[4])
redis.call('PEXPIREAT', KEYS[2], ARGV[5])
return 'done'

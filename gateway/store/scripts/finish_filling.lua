-- Writes which state of the database the store has, unless it was emptied while it was filled.
-- KEYS: the marker. ARGV: the name that this filling has, the database's id, the revision.
-- Returns 'done', or 'emptied' when the store has lost the name meanwhile.
if redis.call('HGET', KEYS[1], 'filling') ~= ARGV[1] then return 'emptied' end
redis.call('HDEL', KEYS[1], 'filling')
redis.call('HSET', KEYS[1], 'database', ARGV[2], 'revision', ARGV[3])
return 'done'

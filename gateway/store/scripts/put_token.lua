-- Writes a token of a backup, unless the store has it: then the store knows better what it has received.
-- KEYS: the token. ARGV: when it expires (ms), then its fields and their values in pairs.
-- Returns 1 when it was written.
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
for index = 2, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[index], ARGV[index + 1]) end
redis.call('PEXPIREAT', KEYS[1], ARGV[1])
return 1

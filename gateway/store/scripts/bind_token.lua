-- Asks whether a token belongs to a client, or makes it belong to the client.
-- KEYS: the token. ARGV: the digest of the client; '1' to bind a token that belongs to nobody.
-- Returns 1: it is this client's, or nobody's; 0: it is another client's; -1: there is no such token.
local token = redis.call('HMGET', KEYS[1], 'manifest', 'bound')
if not token[1] then return -1 end
if token[2] then return token[2] == ARGV[1] and 1 or 0 end
if ARGV[2] == '1' then redis.call('HSET', KEYS[1], 'bound', ARGV[1]) end
return 1

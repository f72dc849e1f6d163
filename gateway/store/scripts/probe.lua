-- Changes nothing, but fails where the ledger would: on a replica, without memory, or without permission.
-- KEYS: a token that does not exist. Returns 1.
-- include: clock.lua
redis.call('HMGET', KEYS[1], 'manifest')
-- SETRANGE needs memory, and makes no key when nothing is written. It is the first command that may write: after
-- one, a script may use any memory.
redis.call('SETRANGE', KEYS[1], 0, '')
redis.call('HDEL', KEYS[1], 'leased')
return 1

-- Revokes a token, unless it is revoked already, and tells all workers.
-- KEYS: the token. ARGV: its id. Returns the whole hash, which is empty when there is no such token.
if redis.call('EXISTS', KEYS[1]) == 1 then
  -- include: clock.lua
  redis.call('HSETNX', KEYS[1], 'revoked', string.format('%.0f', now))
  redis.call('PUBLISH', 'dg:workers', 'revoked ' .. ARGV[1])
end
return redis.call('HGETALL', KEYS[1])

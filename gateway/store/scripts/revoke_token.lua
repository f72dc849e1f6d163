-- Revokes a token, unless it is revoked already.
-- KEYS: the token. Returns the whole hash, which is empty when there is no such token.
if redis.call('EXISTS', KEYS[1]) == 1 then
  -- include: clock.lua
  redis.call('HSETNX', KEYS[1], 'revoked', string.format('%.0f', now))
end
return redis.call('HGETALL', KEYS[1])

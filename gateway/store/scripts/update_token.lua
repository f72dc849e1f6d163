-- Changes the expiry and the limit of a token.
-- KEYS: the token. ARGV: expires (ms since 1970; '' leaves it), the ms from now that it may reach ('' for
-- any), max and size ('' leaves each, '-' removes it).
-- Returns the whole hash, or one of 'token_unknown', 'token_revoked', 'expiry_past', 'expiry_too_far'.
if redis.call('EXISTS', KEYS[1]) == 0 then return 'token_unknown' end
if redis.call('HEXISTS', KEYS[1], 'revoked') == 1 then return 'token_revoked' end
if ARGV[1] ~= '' then
  -- include: clock.lua
  if tonumber(ARGV[1]) <= now then return 'expiry_past' end
  if ARGV[2] ~= '' and tonumber(ARGV[1]) > now + ARGV[2] then return 'expiry_too_far' end
  redis.call('HSET', KEYS[1], 'expires', ARGV[1])
  redis.call('PEXPIREAT', KEYS[1], ARGV[1])
end
for index, field in pairs({[3] = 'max', [4] = 'size'}) do
  if ARGV[index] == '-' then redis.call('HDEL', KEYS[1], field)
  elseif ARGV[index] ~= '' then redis.call('HSET', KEYS[1], field, ARGV[index]) end
end
return redis.call('HGETALL', KEYS[1])

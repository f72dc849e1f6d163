-- Reserves bytes of one file.
-- KEYS: the token. ARGV: number of the file, bytes to reserve, size of the file.
-- Returns 1: reserved, or the token has no limit; 0: the allowance is used up; -1: the token is unknown, has
-- expired or was revoked.
local charged = 'charged:' .. ARGV[1]
local token = redis.call('HMGET', KEYS[1], 'manifest', 'revoked', 'max', charged)
if not token[1] or token[2] then return -1 end
if not token[3] then return 1 end
-- include: allowance.lua
local room = allowance(tonumber(token[3]), tonumber(ARGV[3])) - tonumber(ARGV[2])
if tonumber(token[4] or 0) > room then
  -- include: sweep.lua
  if not sweep() or tonumber(redis.call('HGET', KEYS[1], charged) or 0) > room then return 0 end
end
redis.call('HINCRBY', KEYS[1], charged, ARGV[2])
return 1

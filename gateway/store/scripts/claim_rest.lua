-- Reserves what is left of the allowance of one file, for a request that asks for more than that. Once the
-- token has been charged the downloads that it allows, only for one that is no further download: it begins
-- behind the first eighth of the file. Bytes that transfers hold and nobody gives up (their worker is gone) come
-- back when their leases end. A request that will fit then is refused now, so that it gets all it asks for.
-- KEYS: the token. ARGV: number of the file, bytes that the request asks for, size of the file, the first byte
-- that it asks for, and the fewest bytes that are worth reserving.
-- Returns the bytes reserved, 0 for none; -1: the token is unknown, has expired or was revoked.
local charged, leases = 'charged:' .. ARGV[1], '^lease:' .. ARGV[1] .. ':'
local token = redis.call('HMGET', KEYS[1], 'manifest', 'revoked', 'max', charged)
if not token[1] or token[2] then return -1 end
local asked, size = tonumber(ARGV[2]), tonumber(ARGV[3])
if not token[3] then return asked end
-- include: allowance.lua
local limit, used = tonumber(token[3]), tonumber(token[4] or 0)
if used >= limit * size and tonumber(ARGV[4]) < size / 8 then return 0 end
local left, held = allowance(limit, size) - used, 0
local fields = redis.call('HGETALL', KEYS[1])
for index = 1, #fields, 2 do
  if string.match(fields[index], leases) then
    held = held + tonumber(string.match(fields[index + 1], '^(%d+):%d+$') or 0)
  end
end
local amount = math.min(asked, left)
if amount < tonumber(ARGV[5]) or (held > 0 and asked <= left + held) then return 0 end
redis.call('HINCRBY', KEYS[1], charged, string.format('%.0f', amount))
return amount

-- Returns reserved bytes that the client did not receive, and ends the transfer's lease.
-- KEYS: the token. ARGV: number of the file, bytes to return; for a transfer with a lease also the lease's
-- name, and '1' if its first checkpoint may still arrive. An expired token stays expired.
-- Returns 1 when the token was changed, else 0.
local charged = redis.call('HGET', KEYS[1], 'charged:' .. ARGV[1])
if not charged then return 0 end
local refund = tonumber(ARGV[2])
if ARGV[3] then
  local field, may_come = 'lease:' .. ARGV[1] .. ':' .. ARGV[3], ARGV[4] == '1'
  local lease = redis.call('HGET', KEYS[1], field)
  if lease == 'settled' or (not lease and not may_come) then return 0 end  -- this was sent before
  refund = refund - tonumber(string.match(lease or '', '^(%d+):swept$') or 0)
  if may_come then redis.call('HSET', KEYS[1], field, 'settled') else redis.call('HDEL', KEYS[1], field) end
end
refund = math.min(tonumber(charged), refund)
if refund == 0 then return 0 end
redis.call('HINCRBY', KEYS[1], 'charged:' .. ARGV[1], string.format('%.0f', -refund))
return 1

-- Returns the last reserved bytes of a transfer that goes on: from now on it will send that many fewer.
-- KEYS: the token. ARGV: number of the file, name of the transfer's lease, bytes to return.
-- Returns 1 when the token was changed, else 0. An expired token stays expired.
local field, charged = 'lease:' .. ARGV[1] .. ':' .. ARGV[2], 'charged:' .. ARGV[1]
local token = redis.call('HMGET', KEYS[1], field, charged)
if not token[2] or token[1] == 'settled' then return 0 end
local refund = tonumber(ARGV[3])
if token[1] then
  local unsent, state = string.match(token[1], '^(%d+):(.+)$')
  local rest = math.max(0, tonumber(unsent) - refund)
  redis.call('HSET', KEYS[1], field, string.format('%.0f:', rest) .. state)
  if state == 'swept' then refund = refund - (tonumber(unsent) - rest) end  -- these were returned before
end
refund = math.min(tonumber(token[2]), refund)
if refund > 0 then redis.call('HINCRBY', KEYS[1], charged, string.format('%.0f', -refund)) end
return 1

-- Defines `sweep`, which returns the unsent bytes of every lease whose deadline has passed to the allowance.
-- It returns whether there was such a lease. KEYS[1] is the token.
local function sweep()
  local earliest_deadline = redis.call('HGET', KEYS[1], 'leased')
  if not earliest_deadline then return false end
  -- include: clock.lua
  if now < tonumber(earliest_deadline) then return false end
  local fields, earliest, found = redis.call('HGETALL', KEYS[1]), nil, false
  for index = 1, #fields, 2 do
    local file = string.match(fields[index], '^lease:(%d+):')
    local unsent, deadline = string.match(file and fields[index + 1] or '', '^(%d+):(%d+)$')
    if deadline and tonumber(deadline) > now then
      earliest = math.min(earliest or math.huge, tonumber(deadline))
    elseif deadline then
      local charged = 'charged:' .. file
      local refund = math.min(tonumber(unsent), tonumber(redis.call('HGET', KEYS[1], charged) or 0))
      if refund > 0 then redis.call('HINCRBY', KEYS[1], charged, string.format('%.0f', -refund)) end
      redis.call('HSET', KEYS[1], fields[index], string.format('%.0f:swept', refund))
      found = true
    end
  end
  if earliest then redis.call('HSET', KEYS[1], 'leased', string.format('%.0f', earliest))
  else redis.call('HDEL', KEYS[1], 'leased') end
  return found
end

-- Makes or renews the lease of a transfer.
-- KEYS: the token. ARGV: number of the file, name of the lease, bytes not sent, size of the file, ms that the
-- lease lasts, '1' for the first checkpoint of the transfer. An expired token stays expired.
-- Returns 1: the lease is held; 0: others have been given the unsent bytes, so break the connection; -1: no
-- lease is held, and none is needed.
local field, charged = 'lease:' .. ARGV[1] .. ':' .. ARGV[2], 'charged:' .. ARGV[1]
local token = redis.call('HMGET', KEYS[1], field, charged, 'max', 'leased')
local lease, unsent = token[1], tonumber(ARGV[3])
if not token[2] or lease == 'settled' or (not lease and ARGV[6] ~= '1') then return -1 end
if lease then
  local before, state = string.match(lease, '^(%d+):(.+)$')
  unsent = math.min(unsent, tonumber(before))
  if state == 'swept' then
    -- include: allowance.lua
    if token[3] and tonumber(token[2]) + before > allowance(tonumber(token[3]), tonumber(ARGV[4])) then
      redis.call('HINCRBY', KEYS[1], charged, string.format('%.0f', before - unsent))
      redis.call('HSET', KEYS[1], field, string.format('%.0f:swept', unsent))
      return 0
    end
    redis.call('HINCRBY', KEYS[1], charged, before)
  end
end
-- include: clock.lua
local deadline = now + tonumber(ARGV[5])
redis.call('HSET', KEYS[1], field, string.format('%.0f:%.0f', unsent, deadline))
if not token[4] or deadline < tonumber(token[4]) then
  redis.call('HSET', KEYS[1], 'leased', string.format('%.0f', deadline))
end
return 1

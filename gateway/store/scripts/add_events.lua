-- Adds a batch of usage events to a stream that is bounded by its bytes (see usage/stream.py).
-- KEYS: the stream. ARGV: the most bytes that the stream may hold; the batch.
-- The bytes that it holds are counted in a key beside it, which has the same hash tag.
-- Returns 1, or 0 where there is no room.
local counter = KEYS[1] .. ':bytes'
local held = tonumber(redis.call('GET', counter) or '0')
if held + #ARGV[2] > tonumber(ARGV[1]) then
  if redis.call('XLEN', KEYS[1]) > 0 then return 0 end
  redis.call('DEL', counter)
end
redis.call('XADD', KEYS[1], '*', 'b', ARGV[2])
redis.call('INCRBY', counter, #ARGV[2])
return 1

-- Writes the record of an Idempotency-Key, unless there is one.
-- KEYS: the record. ARGV: JSON, ms to keep the record, ms that the token lives.
-- Returns the record that is there now.
local existing = redis.call('GET', KEYS[1])
if existing then return existing end
-- include: clock.lua
local record = 'open ' .. string.format('%.0f', now + ARGV[3]) .. ' ' .. ARGV[1]
redis.call('SET', KEYS[1], record, 'PX', ARGV[2])
return record

-- Takes one of the attempts that a name has within a window of time, looks whether there is one, or gives one
-- back that was taken.
-- KEYS: the name's count. ARGV: how many there are in a window; its length (ms); 1 to take, 0 to look, -1 to
-- give back.
-- Returns 0: it may be done; else after how many ms there are new ones.
-- include: clock.lua
local found = redis.call('HMGET', KEYS[1], 'count', 'ends')
local count, ends, change = tonumber(found[1] or 0), tonumber(found[2] or 0), tonumber(ARGV[3])
if ends <= now then count, ends = 0, now + tonumber(ARGV[2]) end
if change >= 0 and count >= tonumber(ARGV[1]) then return math.max(1, ends - now) end
if change == 0 or count + change < 0 then return 0 end
redis.call('HSET', KEYS[1], 'count', count + change, 'ends', string.format('%.0f', ends))
redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', ends))
return 0

-- Takes the next piece of the time in which a token's bytes are sent.
-- KEYS: the moment (ms since 1970) to which that time is taken. ARGV: ms that the bytes take at their rate.
-- Returns the ms after which they may be sent.
-- include: clock.lua
local begin = math.max(now, tonumber(redis.call('GET', KEYS[1]) or 0))
local taken = begin + tonumber(ARGV[1])
redis.call('SET', KEYS[1], string.format('%.3f', taken), 'PX', string.format('%.0f', taken - now + 1000))
return math.floor(begin - now)

-- Sets `now`, a number: ms since 1970 UTC by the server's own clock, as all times in the store are.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

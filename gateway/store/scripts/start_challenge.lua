-- Begins a challenge in the place of an earlier one of the same subject.
-- KEYS: the challenge. ARGV: ms that it lasts; its fields and values.
-- include: clock.lua
redis.call('DEL', KEYS[1])
for place = 2, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[place], ARGV[place + 1]) end
redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', now + tonumber(ARGV[1])))
return 'done'

-- Tries to meet a challenge. One that is met is gone.
-- KEYS: the challenge. ARGV: the hash of the browser's secret; the proof; how many tries there are.
-- Returns met, wrong, spent (there are no tries left), or gone (there is none, or it is another browser's).
local found = redis.call('HMGET', KEYS[1], 'browser', 'proof', 'tries')
if not found[1] or found[1] ~= ARGV[1] then return 'gone' end
local tries = tonumber(found[3] or 0)
if tries >= tonumber(ARGV[3]) then return 'spent' end
if found[2] == ARGV[2] then
  redis.call('DEL', KEYS[1])
  return 'met'
end
redis.call('HSET', KEYS[1], 'tries', tries + 1)
if tries + 1 >= tonumber(ARGV[3]) then return 'spent' end
return 'wrong'

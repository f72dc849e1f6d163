-- Removes batches of usage events that have been applied, or sets them aside.
-- KEYS: the stream. ARGV: the group; how many of the removed batches are kept aside (0: this one is not), then ids.
local counter, aside = KEYS[1] .. ':bytes', KEYS[1] .. ':aside'
local keep = tonumber(ARGV[2])
for number = 3, #ARGV do
  local id = ARGV[number]
  local entry = redis.call('XRANGE', KEYS[1], id, id)[1]
  redis.call('XACK', KEYS[1], ARGV[1], id)
  if entry and redis.call('XDEL', KEYS[1], id) == 1 then
    if redis.call('DECRBY', counter, #entry[2][2]) < 0 then redis.call('DEL', counter) end
    if keep > 0 then redis.call('XADD', aside, 'MAXLEN', keep, '*', 'b', entry[2][2]) end
  end
end
if redis.call('XLEN', KEYS[1]) == 0 then redis.call('DEL', counter) end
return 1

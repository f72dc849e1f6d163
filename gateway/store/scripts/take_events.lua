-- Gives batches of usage events to a reader of the group: first those that another reader has left, then new ones.
-- KEYS: the stream. ARGV: the group, the reader's name, how many batches at most, ms after which a batch that was
-- given to a reader counts as left.
-- Returns for each batch its id, its bytes, and how many times it has been given out, this time included.
local stream, group, reader, count, idle = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local known = redis.pcall('XPENDING', stream, group)
if known.err then redis.call('XGROUP', 'CREATE', stream, group, '0', 'MKSTREAM') end
local found = {}
if not known.err and known[1] > 0 then
  local left = redis.call('XAUTOCLAIM', stream, group, reader, idle, '0', 'COUNT', count)
  for _, entry in ipairs(left[2]) do
    if entry then
      local times = redis.call('XPENDING', stream, group, entry[1], entry[1], 1)
      found[#found + 1] = {entry[1], entry[2][2], times[1] and times[1][4] or 1}
    end
  end
end
if #found < count then
  local new = redis.call('XREADGROUP', 'GROUP', group, reader, 'COUNT', count - #found, 'STREAMS', stream, '>')
  if new then
    for _, entry in ipairs(new[1][2]) do found[#found + 1] = {entry[1], entry[2][2], 1} end
  end
end
return found

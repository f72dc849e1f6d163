-- Puts tokens into the index of all tokens, and removes some entries of expired tokens (see tokens/index.py).
-- KEYS: the index. ARGV: how many entries to look at for their expiry; '1' where the tokens may have entries; then
-- entries of 36 bytes: created (6), id (16), product (4), customer (4, zeros for none), expires (6); both times are
-- ms since 1970, big-endian. An entry that is there with a later expiry stays, so that repeated and late commands
-- do no harm.
local index, none = KEYS[1], string.rep('\0', 4)
local function time_at(text, place)
  local a, b, c, d, e, f = string.byte(text, place, place + 5)
  return ((((a * 256 + b) * 256 + c) * 256 + d) * 256 + e) * 256 + f
end
-- include: find_entries.lua
for number = 3, #ARGV do
  local entry = ARGV[number]
  local token, customer, is_there = string.sub(entry, 1, 22), string.sub(entry, 27, 30), false
  if ARGV[2] == '1' then
    for _, found in ipairs(find_entries(token)) do
      if time_at(found, 32) >= time_at(entry, 31) then is_there = true
      else redis.call('ZREM', index, found) end
    end
  end
  local product = 'p' .. string.sub(entry, 23, 26) .. token
  local first = is_there and product or 't' .. entry
  if customer == none then redis.call('ZADD', index, 0, first, 0, product)
  else redis.call('ZADD', index, 0, first, 0, product, 0, 'c' .. customer .. token) end
end
local count = tonumber(ARGV[1])
if count == 0 then return 0 end
-- The member s… says how far earlier calls have looked; the next ones begin there, and at the end from the start.
-- include: clock.lua
local position = redis.call('ZRANGE', index, '[s', '(t', 'BYLEX', 'LIMIT', 0, 1)[1] or 's'
local entries = redis.call('ZRANGE', index, '(t' .. string.sub(position, 2), '(u', 'BYLEX', 'LIMIT', 0, count)
local removed = 0
for _, entry in ipairs(entries) do
  if time_at(entry, 32) <= now then
    remove_entry(entry)
    removed = removed + 1
  end
end
redis.call('ZREM', index, position)
if #entries == count then redis.call('ZADD', index, 0, 's' .. string.sub(entries[count], 2)) end
return removed

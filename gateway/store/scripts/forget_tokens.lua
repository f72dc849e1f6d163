-- Removes entries of tokens that are not in the store any more from the index of all tokens.
-- KEYS: the index. ARGV: members t…, p… or c… of the index. Returns how many there were.
local index, removed = KEYS[1], 0
-- include: find_entries.lua
for _, member in ipairs(ARGV) do
  local token = string.sub(member, 2, 23)
  if string.sub(member, 1, 1) ~= 't' then token = string.sub(member, 6, 27) end
  for _, entry in ipairs(find_entries(token)) do remove_entry(entry) end
  removed = removed + redis.call('ZREM', index, member)
end
return removed

-- Defines `find_entries`, which returns the members t… of the index for one token (its `created` and id, 22
-- bytes), and `remove_entry`, which removes such a member and those that are found by product and customer.
-- `index` is the key.
local function find_entries(token)
  return redis.call('ZRANGE', index, '[t' .. token, '(t' .. token .. string.rep('\255', 15), 'BYLEX')
end
local function remove_entry(entry)
  local token = string.sub(entry, 2, 23)
  redis.call('ZREM', index, entry, 'p' .. string.sub(entry, 24, 27) .. token, 'c' .. string.sub(entry, 28, 31) .. token)
end

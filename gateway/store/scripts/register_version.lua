-- Registers a version of a product, whose manifest has been written before.
-- KEYS: the product, its versions. ARGV: version, digest of its manifest, name of the product ('' leaves it),
-- '1' to make this the active version, '1' to make the product when there is none, '1' when the digests of the
-- files were trusted and not computed here.
-- Returns 'done', 'product_unknown' or 'version_conflict'.
local exists = redis.call('EXISTS', KEYS[1]) == 1
if not exists and ARGV[5] == '0' then return 'product_unknown' end
local digest = redis.call('HGET', KEYS[2], ARGV[1])
if digest and digest ~= ARGV[2] then return 'version_conflict' end
if not exists then
  -- include: clock.lua
  local created = string.format('%.0f', now)
  redis.call('HSET', KEYS[1], 'name', ARGV[3], 'status', 'active', 'created', created)
elseif ARGV[3] ~= '' then
  redis.call('HSET', KEYS[1], 'name', ARGV[3])
end
if ARGV[6] == '0' then redis.call('HDEL', KEYS[1], 'trusted:' .. ARGV[1])
elseif not digest then redis.call('HSET', KEYS[1], 'trusted:' .. ARGV[1], '1') end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
if ARGV[4] == '1' or not redis.call('HGET', KEYS[1], 'active') then
  redis.call('HSET', KEYS[1], 'active', ARGV[1])
end
return 'done'

-- Changes a product.
-- KEYS: the product, its versions. ARGV: name, status, active version ('' leaves each).
-- Returns 'done', 'product_unknown' or 'active_version_unknown'.
if redis.call('EXISTS', KEYS[1]) == 0 then return 'product_unknown' end
if ARGV[3] ~= '' and redis.call('HEXISTS', KEYS[2], ARGV[3]) == 0 then return 'active_version_unknown' end
for index, field in ipairs({'name', 'status', 'active'}) do
  if ARGV[index] ~= '' then redis.call('HSET', KEYS[1], field, ARGV[index]) end
end
return 'done'

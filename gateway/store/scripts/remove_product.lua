-- Removes a product, or one version of it.
-- KEYS: the product, its versions. ARGV: version ('' for the whole product).
-- Returns the digests of the manifests that nothing refers to any more.
local digests = {}
if ARGV[1] == '' then
  digests = redis.call('HVALS', KEYS[2])
  redis.call('DEL', KEYS[1], KEYS[2])
  return digests
end
local digest = redis.call('HGET', KEYS[2], ARGV[1])
if not digest then return digests end
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[1], 'trusted:' .. ARGV[1])
if redis.call('HGET', KEYS[1], 'active') == ARGV[1] then redis.call('HDEL', KEYS[1], 'active') end
return {digest}

-- Reads a token and, where it has a limit and its version has only one file, reserves the whole of this file.
-- KEYS: the token. Its field `size` is there only with a limit and a version of one file.
-- Returns manifest, revoked, max, caps, and the bytes reserved: 0 for none, -1 when the allowance is used up.
local token = redis.call('HMGET', KEYS[1], 'manifest', 'revoked', 'max', 'size', 'charged:0', 'caps')
local limit, size = token[3], tonumber(token[4] or 0)
if token[2] or not limit or size == 0 then return {token[1], token[2], limit, token[6], 0} end
-- include: allowance.lua
local room = allowance(tonumber(limit), size) - size
if tonumber(token[5] or 0) > room then
  -- include: sweep.lua
  if not sweep() or tonumber(redis.call('HGET', KEYS[1], 'charged:0') or 0) > room then
    return {token[1], token[2], limit, token[6], -1}
  end
end
redis.call('HINCRBY', KEYS[1], 'charged:0', token[4])
return {token[1], token[2], limit, token[6], size}

-- Changes the expiry and the limits of a token.
-- KEYS: the token. ARGV: expires (ms since 1970; '' leaves it), the ms from now that it may reach ('' for
-- any), max and size; then the words of its caps: connections, rate, connection_rate and binding
-- ('' leaves each of these six, '-' removes it). Whatever is said of the binding, the token belongs to nobody then.
-- Returns the whole hash, or one of 'token_unknown', 'token_revoked', 'expiry_past', 'expiry_too_far'.
if redis.call('EXISTS', KEYS[1]) == 0 then return 'token_unknown' end
if redis.call('HEXISTS', KEYS[1], 'revoked') == 1 then return 'token_revoked' end
if ARGV[1] ~= '' then
  -- include: clock.lua
  if tonumber(ARGV[1]) <= now then return 'expiry_past' end
  if ARGV[2] ~= '' and tonumber(ARGV[1]) > now + ARGV[2] then return 'expiry_too_far' end
  redis.call('HSET', KEYS[1], 'expires', ARGV[1])
  redis.call('PEXPIREAT', KEYS[1], ARGV[1])
end
for index, field in pairs({[3] = 'max', [4] = 'size'}) do
  if ARGV[index] == '-' then redis.call('HDEL', KEYS[1], field)
  elseif ARGV[index] ~= '' then redis.call('HSET', KEYS[1], field, ARGV[index]) end
end
local words, names, changes = {}, {}, false
for word in string.gmatch(redis.call('HGET', KEYS[1], 'caps') or '', '[^ ]+') do
  local name = string.match(word, '^[^=]*')
  if not words[name] then names[#names + 1] = name end
  words[name] = word
end
for index, name in ipairs({'connections', 'rate', 'connection_rate', 'binding'}) do
  local value = ARGV[4 + index]
  if value ~= '' then
    changes = true
    if not words[name] then names[#names + 1] = name end
    words[name] = value ~= '-' and name .. '=' .. value or ''
  end
end
if changes then
  local line = {}
  for _, name in ipairs(names) do
    if words[name] ~= '' then line[#line + 1] = words[name] end
  end
  if #line == 0 then redis.call('HDEL', KEYS[1], 'caps')
  else redis.call('HSET', KEYS[1], 'caps', table.concat(line, ' ')) end
end
if ARGV[8] ~= '' then redis.call('HDEL', KEYS[1], 'bound') end
return redis.call('HGETALL', KEYS[1])

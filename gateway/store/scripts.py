"""The scripts that charge a token, and the ledger they keep: each is one atomic step on one token's hash.

`charged:F` counts the bytes of file number F that are reserved or were received. A transfer that has lasted a
while also has a field `lease:F:NAME` there, which says how much of its reservation it had not sent at its
last checkpoint. When its worker dies, the lease's deadline passes, and whoever would be refused next
returns the rest (`sweep`). A worker that was only frozen, or cut off from the store, finds out at its next
checkpoint. Of R bytes reserved:

    lease:F:NAME   in charged:F   checkpoint, U not sent                  settle, U not sent
    none           R              the first: U:deadline; a later one: -   charged - U
    V:deadline     R              min(U, V):deadline                      charged - U, field removed
    X:swept        R - X          room for X: charged + X, U:deadline     charged + X - U, field removed
                                  else: charged + X - U, U:swept, and
                                  the worker breaks the connection
    settled        R - U          -                                       -

So whatever comes when, and however late, a settled transfer has been charged what it sent, exactly. The last
row is written only where a first checkpoint may still be on its way, and would make a lease for nobody. What
is swept of a dead worker stays as X:swept until the token expires: some 40 bytes.

Deadlines are of the store's own clock. `leased` is a moment before which none of them passes, so that
nothing is looked through in vain; a claim that finds room does not even ask for it.
"""

from __future__ import annotations

from typing import Final

from gateway.store.pipeline import Script

_NOW: Final = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
"""

_SWEEP: Final = f"""
  -- Return what those had not sent whose leases are over. Whether there were any.
  local function sweep()
    local from = redis.call('HGET', KEYS[1], 'leased')
    if not from then return false end
    {_NOW}
    if now < tonumber(from) then return false end
    local fields, earliest, found = redis.call('HGETALL', KEYS[1]), nil, false
    for place = 1, #fields, 2 do
      local file = string.match(fields[place], '^lease:(%d+):')
      local unsent, deadline = string.match(file and fields[place + 1] or '', '^(%d+):(%d+)$')
      if deadline and tonumber(deadline) > now then
        earliest = math.min(earliest or math.huge, tonumber(deadline))
      elseif deadline then
        local charged = 'charged:' .. file
        local back = math.min(tonumber(unsent), tonumber(redis.call('HGET', KEYS[1], charged) or 0))
        if back > 0 then redis.call('HINCRBY', KEYS[1], charged, string.format('%.0f', -back)) end
        redis.call('HSET', KEYS[1], fields[place], string.format('%.0f:swept', back))
        found = true
      end
    end
    if earliest then redis.call('HSET', KEYS[1], 'leased', string.format('%.0f', earliest))
    else redis.call('HDEL', KEYS[1], 'leased') end
    return found
  end
"""

CLAIM: Final = Script(f"""
-- KEYS[1] the token; ARGV: number of the file, bytes to reserve, size of the file
local charged = 'charged:' .. ARGV[1]
local token = redis.call('HMGET', KEYS[1], 'manifest', 'revoked', 'max', charged)
if not token[1] or token[2] then return -1 end
if not token[3] then return 1 end
local room = tonumber(token[3]) * tonumber(ARGV[3]) - tonumber(ARGV[2])
if tonumber(token[4] or 0) > room then
  {_SWEEP}
  if not sweep() or tonumber(redis.call('HGET', KEYS[1], charged) or 0) > room then return 0 end
end
redis.call('HINCRBY', KEYS[1], charged, ARGV[2])
return 1
""")

TAKE: Final = Script(f"""
-- KEYS[1] the token. Look, and reserve the whole of a version's only file where the token has a limit.
-- `size` is kept with a limited token of a one-file version.
local token = redis.call('HMGET', KEYS[1], 'manifest', 'revoked', 'max', 'size', 'charged:0')
local limit, size = token[3], tonumber(token[4] or 0)
if token[2] or not limit or size == 0 then return {{token[1], token[2], limit, 0}} end
local room = tonumber(limit) * size - size
if tonumber(token[5] or 0) > room then
  {_SWEEP}
  if not sweep() or tonumber(redis.call('HGET', KEYS[1], 'charged:0') or 0) > room then
    return {{token[1], token[2], limit, -1}}
  end
end
redis.call('HINCRBY', KEYS[1], 'charged:0', token[4])
return {{token[1], token[2], limit, size}}
""")

CHECKPOINT: Final = Script(f"""
-- KEYS[1] the token; ARGV: number of the file, name of the lease, bytes not sent, size of the file,
-- ms the lease lasts, '1' for the first. 1: held; 0: others have those bytes now, break the connection;
-- -1: nothing is held, and nothing needs to be. An expired token stays expired.
local field, charged = 'lease:' .. ARGV[1] .. ':' .. ARGV[2], 'charged:' .. ARGV[1]
local token = redis.call('HMGET', KEYS[1], field, charged, 'max', 'leased')
local held, unsent = token[1], tonumber(ARGV[3])
if not token[2] or held == 'settled' or (not held and ARGV[6] ~= '1') then return -1 end
if held then
  local before, state = string.match(held, '^(%d+):(.+)$')
  unsent = math.min(unsent, tonumber(before))
  if state == 'swept' then
    if token[3] and tonumber(token[2]) + before > tonumber(token[3]) * tonumber(ARGV[4]) then
      redis.call('HINCRBY', KEYS[1], charged, string.format('%.0f', before - unsent))
      redis.call('HSET', KEYS[1], field, string.format('%.0f:swept', unsent))
      return 0
    end
    redis.call('HINCRBY', KEYS[1], charged, before)
  end
end
{_NOW}
local deadline = now + tonumber(ARGV[5])
redis.call('HSET', KEYS[1], field, string.format('%.0f:%.0f', unsent, deadline))
if not token[4] or deadline < tonumber(token[4]) then
  redis.call('HSET', KEYS[1], 'leased', string.format('%.0f', deadline))
end
return 1
""")

SETTLE: Final = Script("""
-- KEYS[1] the token; ARGV: number of the file, bytes to return; for a transfer with a lease also its name,
-- and '1' if a first checkpoint may come later. An expired token stays expired.
local charged = redis.call('HGET', KEYS[1], 'charged:' .. ARGV[1])
if not charged then return 0 end
local refund = tonumber(ARGV[2])
if ARGV[3] then
  local field, late = 'lease:' .. ARGV[1] .. ':' .. ARGV[3], ARGV[4] == '1'
  local held = redis.call('HGET', KEYS[1], field)
  if held == 'settled' or (not held and not late) then return 0 end  -- asked again
  refund = refund - tonumber(string.match(held or '', '^(%d+):swept$') or 0)
  if late then redis.call('HSET', KEYS[1], field, 'settled') else redis.call('HDEL', KEYS[1], field) end
end
refund = math.min(tonumber(charged), refund)
if refund == 0 then return 0 end
redis.call('HINCRBY', KEYS[1], 'charged:' .. ARGV[1], string.format('%.0f', -refund))
return 1
""")

SCRIPTS: Final = (CLAIM, SETTLE, TAKE, CHECKPOINT)
"""What a worker has loaded at each connection."""

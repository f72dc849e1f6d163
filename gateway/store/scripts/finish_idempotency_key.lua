-- Marks the record of an Idempotency-Key as done: its token has been made.
-- KEYS: the record, which may have expired. 'done' is as long as 'open', which it replaces.
if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('SETRANGE', KEYS[1], 0, 'done') end
return 1

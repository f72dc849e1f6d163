-- Takes what a link stands for, so that nobody can take it again.
-- KEYS: the link. Returns its value; false where it is gone.
local found = redis.call('GET', KEYS[1])
redis.call('DEL', KEYS[1])
return found

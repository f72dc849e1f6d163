"""Everything about Redis: connections, the names of keys, the Lua scripts, and the embedded server."""

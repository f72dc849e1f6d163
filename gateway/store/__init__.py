"""Redis and nothing else: connections, the names of keys, the Lua scripts, and the embedded server."""

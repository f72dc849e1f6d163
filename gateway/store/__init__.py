"""The Redis server that requests are answered from: connections to it, its scripts, and the embedded one."""

"""A read-through cache on a local disk, in front of object storages."""

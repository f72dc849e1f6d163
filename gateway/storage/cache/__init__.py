"""A read-through cache on a local disk, before an object storage."""

"""Products, their versions and manifests, and how files on disk or in a bucket become one."""

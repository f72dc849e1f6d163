"""Load generators, and how they are run. Each runs as a process of its own, on the CPU of the load."""

"""What a comparison stands on: files, Redis, the bucket, processes, the network, and CPU and memory used."""

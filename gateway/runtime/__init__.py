"""What every process needs: its log, metrics, listening sockets, addresses and deferred results."""

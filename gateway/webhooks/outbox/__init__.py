"""What is announced, and how it gets into the outbox: used by the rooms in which things happen."""

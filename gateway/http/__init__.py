"""The rules of the protocol, as pure functions of values: no I/O, no clock, no settings."""

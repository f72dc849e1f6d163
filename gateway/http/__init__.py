"""The rules of the protocol, pure: values in, values out; no I/O, no clock, no settings."""

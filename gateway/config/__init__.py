"""Settings: how they are declared, read from flags, environment and file, checked and documented."""

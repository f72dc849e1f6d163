"""Where the files are: one interface, and a folder for each kind of storage."""

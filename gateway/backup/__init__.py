"""Backups: one file with everything of an installation that cannot be made again.

    contents.py    the file: its lines, how values are written, and what makes it whole
    taking.py      writes it while everything runs
    restoring.py   puts it into a database and a store, of whichever kind

The products' own files are not in it.
"""

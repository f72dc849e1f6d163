"""Imported by every Python that a test starts with this folder on its path: see tests/support/faults.py."""

import os

if "TEST_FAULTS" in os.environ:
    from tests.support.faults import install

    install()

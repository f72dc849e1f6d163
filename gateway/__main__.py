"""`python -m gateway` is the same as the command `download-gateway`."""

import sys

from gateway.cli import main

sys.exit(main())

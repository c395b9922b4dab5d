"""`python -m pipeline` is the command `bauta`."""

import sys

from .cli import main

sys.exit(main())

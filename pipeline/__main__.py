"""`python -m pipeline` is the command `bauta`."""

from .cli import console

console()

"""The product's version; `setup.py` reads it as text, so it stays one plain assignment."""

__version__ = "0.1.0"

"""The format `bauta/1` as bytes (docs/evidence-format.md): no key, no pixel."""

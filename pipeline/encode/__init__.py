"""`ProtectedFrame`s to packets: which encoder works here, and how it is set."""

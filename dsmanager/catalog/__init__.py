"""Which builders exist and where their code lies, found without importing any of it."""

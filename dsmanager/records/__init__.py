"""Record files and the examples in them, as bytes: reading and writing, never interpreting."""

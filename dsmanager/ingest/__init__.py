"""Raw sources to records: what has the size of a source, and is not a builder's."""

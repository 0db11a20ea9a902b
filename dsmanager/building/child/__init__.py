"""The process that runs builder code: its verbs, TFDS with our parts in it, sources, partitions."""

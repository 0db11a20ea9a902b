"""From the examples that a builder yields to shard files, byte for byte those of TFDS."""

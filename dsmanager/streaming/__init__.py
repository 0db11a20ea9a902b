"""Records of an uncompressed archive read from a remote by ranges, through a cache on disk."""

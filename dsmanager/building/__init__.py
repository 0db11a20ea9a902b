"""Running a builder in a child process, its examples as shards, and proof of what came out."""

"""Running a builder: the child process, its writer and downloads, and proof of what came out."""

"""Modal questions. A dialog takes plain values, returns a request, and never does the work."""

"""What `dsmanager demo` needs: a source to build from, and the run through a life."""

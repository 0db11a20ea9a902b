"""One function on many tasks: in this process, in helpers beside it, or on a Dask cluster.

Owns the processes and what goes between them, never what a task does. A task is a JSON value and
idempotent: it may run twice, anywhere, and leaves its result where it belongs by a rename.
"""

from dsmanager.parallel.tasks import run_tasks

__all__ = ["run_tasks"]

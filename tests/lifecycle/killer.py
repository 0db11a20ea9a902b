"""Runs dsmanager and kills it with SIGKILL just before its n-th change of the file system.

    python killer.py N OUT arguments…

Every open for writing, rename, remove, mkdir and connection counts, in all threads; audit hooks see
them without a hook in the product. OUT gets the number of changes when the run was not killed.
"""

import os
import signal
import sys

_CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "socket.connect"}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT

deadly = int(sys.argv[1])
out = sys.argv[2]
count = 0


def watch(event: str, arguments: tuple[object, ...]) -> None:
    global count
    if event == "open":
        flags = arguments[2]
        if not isinstance(flags, int) or not flags & _WRITES:
            return
    elif event not in _CHANGES:
        return
    count += 1
    if count == deadly:
        os.kill(os.getpid(), signal.SIGKILL)


from dsmanager.cli.main import main  # noqa: E402 - imports are no part of what is killed

sys.addaudithook(watch)
code = main(sys.argv[3:])
changes = count
with open(out, "w") as file:
    file.write(str(changes))
sys.exit(code)

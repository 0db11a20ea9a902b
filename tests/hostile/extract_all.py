"""Extracts every malicious archive with the library, in one process of limited memory.

python extract_all.py prepare FOLDER     a data dir for each, with the archive in its cache
python extract_all.py extract FOLDER     prints JSON: what became of each, and how much the
                                         process grew meanwhile
"""

# ruff: noqa: E402 - what is imported lies beside this file

from __future__ import annotations

import hashlib
import json
import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).parent)]

import malicious
from malicious import Attack

from dsmanager.errors import DsmanagerError
from dsmanager.library.extraction import extract
from dsmanager.library.library import Library
from dsmanager.progress import CancelToken, Progress
from dsmanager.refs import Ref
from dsmanager.settings import Settings

REF = Ref("digit", None, "1.0.8")
ADDRESS_SPACE_BYTES = 3 << 30
FILE_BYTES = 256 << 20


def prepare(root: Path) -> None:
    """Where nothing is wrong comes first: what it takes is not what attacks take."""
    for kind, each in (("good", malicious.good_archives()), ("attack", malicious.attacks())):
        for number, attack in enumerate(each):
            folder = root / f"{kind} {number:04}"
            (folder / "data" / "cache").mkdir(parents=True)
            (folder / "name").write_text(attack.name)
            for path, content in _files(attack):
                (folder / "data" / path).write_bytes(content)


def extract_all(root: Path) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES, ADDRESS_SPACE_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))
    good = [try_one(folder) for folder in sorted(root.glob("good *"))]
    before = peak_bytes()
    attacks = [try_one(folder) for folder in sorted(root.glob("attack *"))]
    print(json.dumps({"good": good, "attacks": attacks, "grown_bytes": peak_bytes() - before}))


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def try_one(folder: Path) -> dict[str, Any]:
    """Extracts what the cache of a prepared data dir holds, and looks for what is left of it."""
    before = set(_everything(folder))
    environment = {"DSMANAGER_CONFIG": str(folder / "config.toml"), "HOME": str(folder)}
    environment |= {
        "DSMANAGER_STATE_DIR": f"{folder}/state",
        "DSMANAGER_DATA_DIR": f"{folder}/data",
    }
    library = Library(settings=Settings.load(environ=environment, working_dir=folder))
    code, message = 0, ""
    try:
        extract(library, REF, progress=Progress(), cancel=CancelToken())
    except DsmanagerError as error:
        code, message = int(error.exit_code), error.message
    except BaseException as error:  # exactly what must not happen
        message = repr(error)
    left = sorted(path for path in set(_everything(folder)) - before if path.parts[0] != "state")
    return {
        "name": (folder / "name").read_text(),
        "code": code,
        "message": message,
        "left": [str(x) for x in left],
    }


def _files(attack: Attack) -> Iterator[tuple[str, bytes]]:
    """The archive, and a sidecar or a manifest that says that it is the right one."""
    archive = f"{malicious.NAME}{attack.suffix}"
    yield f"cache/{archive}", attack.data
    if attack.raw_sidecar is not None:
        yield f"cache/{archive}.json", attack.raw_sidecar
    elif attack.sidecar is not None:
        sidecar = {**malicious.sidecar_of(attack.suffix, attack.data), **attack.sidecar}
        yield f"cache/{archive}.json", json.dumps(sidecar).encode()
    else:
        entry = {"archive": archive, "size": len(attack.data), "subdir": ["digit/1.0.8"]}
        entry["sha256"] = hashlib.sha256(attack.data).hexdigest()
        yield "datasets.json", json.dumps({"schema": 2, "datasets": {str(REF): entry}}).encode()


def _everything(folder: Path) -> Iterator[Path]:
    for where, folders, files in os.walk(folder):
        for name in (*folders, *files):
            yield Path(where, name).relative_to(folder)


if __name__ == "__main__":
    {"prepare": prepare, "extract": extract_all}[sys.argv[1]](Path(sys.argv[2]))

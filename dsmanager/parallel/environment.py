"""The environment that builder code sees: the caller's, without anything that opens a door."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

__all__ = ["child_environment", "with_our_code"]

_PRIVATE_PREFIXES = ("AWS_", "ARMORY_PRIVATE_", "DSMANAGER_")
_PRIVATE_WORDS = re.compile(r"KEY|SECRET|TOKEN|PASSW|CREDENTIAL|AUTH", re.IGNORECASE)


def child_environment(environment: Mapping[str, str], scratch: Path) -> dict[str, str]:
    """A copy without credentials; temporary files of the builder go to ``scratch``.

    A name that looks like a credential's is taken out whatever it holds. The AWS variables that are
    put in keep boto3 and the AWS tools from finding keys in files or from the machine's role.
    """
    kept = {
        name: value
        for name, value in environment.items()
        if not name.startswith(_PRIVATE_PREFIXES) and not _PRIVATE_WORDS.search(name)
    }
    return with_our_code(kept) | {
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "TMPDIR": str(scratch),
    }


def with_our_code(environment: Mapping[str, str]) -> dict[str, str]:
    """A copy in which a Python in any folder finds this very dsmanager, too."""
    code = str(Path(__file__).absolute().parents[2])
    paths = [
        os.path.abspath(entry)
        for entry in environment.get("PYTHONPATH", "").split(os.pathsep)
        if entry
    ]
    if code not in paths:
        paths.append(code)
    return {**environment, "PYTHONPATH": os.pathsep.join(paths)}

"""Every fault befalls every verb that talks to a remote; how it ends, and how its next run ends."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dsmanager.remotes.remote import Remote
from dsmanager.settings import RemoteConfig
from harness.faults import ALWAYS, Fault
from harness.goodness import Findings, one_clear_line
from harness.kills import leftovers, state_of
from harness.machine import Machine
from harness.processes import Ended, Zygote
from harness.proxy import FaultProxy
from harness.starts import ARCHIVE, Starts

FAST = {
    "dsmanager.remotes.client:_CONTROL_READ_TIMEOUT_S": 1,
    "dsmanager.remotes.client:_DOWNLOAD_READ_TIMEOUT_S": 1,
    "dsmanager.remotes.client:_UPLOAD_READ_TIMEOUT_S": 2,
    "dsmanager.remotes.client:_UPLOAD_SEND_TIMEOUT_S": 2,
}
"""Time-outs that a stall has to outlast, short enough to wait for."""

SMALL = FAST | {
    "dsmanager.remotes.upload:PART_BYTES": 5 << 20,
    "dsmanager.remotes.download:_RANGE_BYTES": 1 << 19,
}
"""Parts and ranges of which a small archive has several."""

GIVE_UP_S = 60.0


@dataclass(frozen=True)
class Case:
    """A fault as it is injected, and the exit codes that may follow; success may always."""

    name: str
    fault: Fault
    codes: tuple[int, ...] = ()
    more: tuple[tuple[str, Any], ...] = ()
    match: str = ""
    quick: bool = True
    """Whether it is tried in every test run, and not in the soak alone."""

    def befalls(self, transfer: Transfer) -> bool:
        """Whether the verb sends any request that this could happen to."""
        sends = transfer.start in ("packaged", "remote other")
        if self.match.startswith("^GET") and (_OBJECT in self.match or "bytes=" in self.match):
            return not sends and not transfer.is_listing
        return sends or "PUT" not in self.match

    def inject(self, proxy: FaultProxy, *, times: int, skip: int, action: Callable[[], object]):
        if self.fault is Fault.CHANGE:
            times = 1
        return proxy.inject(
            self.fault, match=self.match, times=times, skip=skip, action=action, **dict(self.more)
        )


_OBJECT = r"\.tar\.gz"
CASES = [
    Case("refuse", Fault.REFUSE, (5,)),
    Case("reset", Fault.RESET, (5,), quick=False),
    Case("drop while sending", Fault.DROP_REQUEST, (5,), match="^(PUT|POST)"),
    Case("drop while receiving", Fault.DROP_ANSWER, (5,), match="^GET"),
    Case(
        "drop after 1 byte",
        Fault.DROP_ANSWER,
        (5,),
        (("after_bytes", 1),),
        match="^GET",
        quick=False,
    ),
    Case("lose the answer", Fault.LOSE_ANSWER, (5,), quick=False),
    Case("truncate", Fault.TRUNCATE, (5,), match="^GET"),
    Case("cut a chunk", Fault.CUT_CHUNK, (5,), match="^GET", quick=False),
    Case("no answer", Fault.STALL_REQUEST, (5,), quick=False),
    Case("stall half-way", Fault.STALL_ANSWER, (5,), match="^GET"),
    Case(
        "flip a bit of an archive sent", Fault.FLIP_REQUEST, (4, 5), match=rf"^PUT.*{_OBJECT}(\?|$)"
    ),
    Case("flip a bit of an archive", Fault.FLIP_ANSWER, (4,), match=rf"^GET.*{_OBJECT}( |$)"),
    Case(
        "flip a bit of a sidecar",
        Fault.FLIP_ANSWER,
        (4,),
        match=rf"^GET.*{_OBJECT}\.json",
        quick=False,
    ),
    Case("200 for a range", Fault.IGNORE_RANGE, (), match=r"^GET.* bytes="),
    Case("403", Fault.STATUS, (8,), (("status", 403),)),
    # 7: what is said to be absent is written only where nothing is.
    Case("404", Fault.STATUS, (5, 6, 7), (("status", 404),)),
    Case("409", Fault.STATUS, (5,), (("status", 409),)),
    Case("412", Fault.STATUS, (5, 7), (("status", 412),)),
    Case("500", Fault.STATUS, (5,), (("status", 500),)),
    Case("503 with Retry-After", Fault.STATUS, (5,), (("status", 503),)),
    Case("429", Fault.STATUS, (5,), (("status", 429),), quick=False),
    Case("slow", Fault.SLOW, (), (("bytes_per_s", 60 << 20),)),
    Case("every request twice", Fault.DUPLICATE, (5,)),
    # 2: a server that seems not to know compare-and-swap is given no manifest.
    Case("another ETag", Fault.OTHER_ETAG, (2, 4, 5), quick=False),
    Case("replaced half-way", Fault.CHANGE, (4, 5), match=rf"^GET.*{_OBJECT} bytes="),
    Case("garbage", Fault.GARBAGE, (1, 5)),
    Case("a web page", Fault.WEB_PAGE, (1, 2, 4, 5, 6), quick=False),
]


@dataclass(frozen=True)
class Transfer:
    """A verb that talks to a remote."""

    name: str
    arguments: tuple[str, ...]
    start: str
    is_listing: bool = False
    quick: bool = True
    """Whether it is tried in every test run, and not in the soak alone."""


TRANSFERS = [
    Transfer("upload", ("upload", "tiny"), "packaged"),
    Transfer("upload --overwrite", ("upload", "tiny", "--overwrite"), "remote other", quick=False),
    Transfer("download", ("download", "tiny"), "remote"),
    Transfer(
        "download --overwrite", ("download", "tiny", "--overwrite"), "remote and other", quick=False
    ),
    Transfer("verify --in remote", ("verify", "tiny", "--in", "remote"), "remote"),
    Transfer("list", ("--json", "list"), "remote", True),
    Transfer("sync", ("sync",), "remote"),
    Transfer("sync --push", ("sync", "--push"), "packaged", quick=False),
    Transfer("manifest push", ("manifest", "push"), "packaged", quick=False),
    Transfer("manifest pull", ("manifest", "pull"), "shared", quick=False),
]


@dataclass(frozen=True)
class Struck:
    """What became of one case; ``code`` None when the fault met no request."""

    findings: Findings
    code: int | None
    seconds: float = 0.0


class FaultExperiment:
    """One verb on machines of its own, behind one proxy."""

    def __init__(
        self,
        zygote: Zygote,
        transfer: Transfer,
        starts: Starts,
        proxy: FaultProxy,
        root: Path,
        settings: Mapping[str, Any] = FAST,
    ) -> None:
        self._zygote = zygote
        self.transfer = transfer
        self._starts = starts
        self._proxy = proxy
        self._root = root
        self._settings = settings
        self._number = 0
        machine, remote = starts.make(transfer.start, root / "whole")
        whole = zygote.run(machine, *transfer.arguments)
        assert whole.code == 0, (transfer.name, whole.code, whole.stderr)
        self._whole = state_of(machine, remote)
        shutil.rmtree(machine.root)

    def strike(self, case: Case, *, times: int = ALWAYS, skip: int = 0) -> Struck:
        """Runs the verb while ``case`` befalls its requests, and again without."""
        self._number += 1
        machine, remote = self._make(case)
        before = state_of(machine, remote)
        machine.use(replace(remote, endpoint_url=self._proxy.distant_url))
        rule = case.inject(
            self._proxy, times=times, skip=skip, action=lambda: _replace_object(remote)
        )
        ended = self._zygote.wait(
            self._zygote.start(machine, *self.transfer.arguments, settings=self._settings),
            give_up_s=GIVE_UP_S,
        )
        self._proxy.clear()
        often = "once" if times == 1 else "always"
        what = f"{self.transfer.name}, {case.name} {often}, from request {skip + 1} on"
        findings = Findings(tries=int(rule.used > 0))
        findings.unclear += [f"{what}: {each}" for each in self._endings(case, ended)]
        after = state_of(machine, remote)
        findings.damaged += [f"{what}: {each}" for each in after.damaged]
        findings.lost += [f"{what}: {each}" for each in before.lost(after)]
        self._retry(what, case, machine, remote, findings)
        shutil.rmtree(machine.root)
        return Struck(findings, ended.code if rule.used else None, ended.seconds)

    def _make(self, case: Case) -> tuple[Machine, RemoteConfig]:
        root = self._root / f"struck-{self._number}"
        machine, remote = self._starts.make(self.transfer.start, root)
        if case.fault is Fault.CHANGE and self.transfer.start.startswith("remote"):
            remote = self._starts.published()  # it is changed: not one that others share
        return machine, remote

    def _endings(self, case: Case, ended: Ended) -> list[str]:
        if ended.hung:
            return [f"it was still running after {GIVE_UP_S} s"]
        if self.transfer.is_listing:
            return _listing_endings(ended)
        wrong = one_clear_line(ended.code, ended.stderr)
        if ended.code not in (0, *case.codes):
            wrong.append(f"exit {ended.code}, not {case.codes}: {ended.stderr[-300:]!r}")
        return wrong

    def _retry(
        self, what: str, case: Case, machine: Machine, remote: RemoteConfig, findings: Findings
    ) -> None:
        again = self._zygote.run(machine, *self.transfer.arguments)
        if again.code or again.hung:
            findings.failed.append(f"{what}: the next run ended with {again.code}: {again.stderr}")
        at_last = state_of(machine, remote)
        if not self._whole.good <= at_last.good or at_last.damaged:
            odd = sorted(self._whole.good - at_last.good) + list(at_last.damaged)
            findings.failed.append(f"{what}: the next run led elsewhere: {odd}")
        findings.left += [f"{what}: {each}" for each in leftovers(self._zygote, machine, remote)]


def _listing_endings(ended: Ended) -> list[str]:
    """``list`` shows what is here whatever the remote does, and says what it could not see."""
    if ended.code:
        return [f"exit {ended.code}: {ended.stderr[-300:]!r}"]
    try:
        envelope = json.loads(ended.stdout)
    except ValueError:
        return [f"no JSON: {ended.stdout[-300:]!r}"]
    wrong = []
    if "tiny:1.0.0" not in [row["ref"] for row in envelope["data"]]:
        wrong.append("what is recorded here is not listed")
    if (envelope["status"] == "success") != (not envelope["errors"]):
        wrong.append(f"status {envelope['status']} with errors {envelope['errors']}")
    return wrong


def _replace_object(config: RemoteConfig) -> None:
    """Puts the same bytes there again, as somebody does who uploads meanwhile, by another way."""
    with Remote(config) as remote:
        content = remote.read_bytes(ARCHIVE, max_bytes=1 << 30)
        head = remote.head(ARCHIVE)
        assert content is not None
        assert head is not None
        place = {"Bucket": config.bucket, "Key": remote.key_of(ARCHIVE)}
        client = remote.clients.upload
        upload = client.create_multipart_upload(**place, Metadata={"sha256": head.sha256 or ""})
        place["UploadId"] = upload["UploadId"]
        parts = []
        middle = 5 << 20
        pieces = [content[:middle], content[middle:]]
        for number, piece in enumerate(filter(None, pieces), 1):
            answer = client.upload_part(**place, PartNumber=number, Body=piece)
            parts.append({"PartNumber": number, "ETag": answer["ETag"]})
        client.complete_multipart_upload(**place, MultipartUpload={"Parts": parts})

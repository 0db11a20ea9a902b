"""Archives that somebody made to harm, and the valid one that each of them starts from.

Makes bytes, without the code under test; knows nothing of what should happen to them.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import zstandard

from fuzz.structure import GNU, padded, pax_record, tar_header

NAME = "digit__1.0.8__cache"
V = b"digit/1.0.8/"
END = bytes(10_240)
_TENSOR = "tensorflow_datasets.core.features.tensor_feature.Tensor"
_DICT = "tensorflow_datasets.core.features.features_dict.FeaturesDict"


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


FILES: dict[str, bytes] = {
    "digit/1.0.8/dataset_info.json": _json(
        {
            "name": "digit",
            "version": "1.0.8",
            "fileFormat": "tfrecord",
            "splits": [{"name": "train", "shardLengths": ["1"], "numBytes": "3"}],
        }
    ),
    "digit/1.0.8/digit-train.tfrecord-00000-of-00001": hashlib.shake_256(b"shard").digest(6000),
    "digit/1.0.8/features.json": _json({"pythonClassName": _DICT, "featuresDict": {}}),
}
"""A dataset that is complete, so that nothing but the attack can be the reason of a refusal."""

MEMBERS = b"".join(
    tar_header(path.encode(), len(content)) + padded(content) for path, content in FILES.items()
)
GOOD_TAR = MEMBERS + tar_header(V + b"a") + END


@dataclass(frozen=True)
class Attack:
    """One archive. ``sidecar`` replaces keys of one that fits it; None: there is none."""

    name: str
    suffix: str
    data: bytes
    sidecar: dict[str, Any] | None = None
    raw_sidecar: bytes | None = None


def tar_attacks() -> dict[str, bytes]:
    """Name of the attack -> a tar stream."""
    h, record = tar_header, pax_record

    def pax(content: bytes, kind: bytes = b"x") -> bytes:
        return h(b"././@PaxHeader", len(content), kind) + padded(content)

    def long_name(content: bytes, kind: bytes = b"L") -> bytes:
        return h(b"././@LongLink", len(content), kind, magic=GNU) + padded(content)

    good = h(V + b"a")
    return {
        "hard link": good + h(V + b"b", kind=b"1", link=V + b"a") + END,
        "symbolic link": h(V + b"b", kind=b"2", link=b"/etc/passwd") + END,
        "symbolic link to a folder, then a file through it": (
            h(V + b"b", kind=b"2", link=b"/tmp") + h(V + b"b/c") + END
        ),
        "character device": h(V + b"b", kind=b"3") + END,
        "block device": h(V + b"b", kind=b"4") + END,
        "fifo": h(V + b"b", kind=b"6") + END,
        "contiguous file": h(V + b"b", kind=b"7") + END,
        "GNU sparse file": h(V + b"b", kind=b"S", magic=GNU) + END,
        "GNU long link name": long_name(b"/etc/passwd\0", b"K") + good + END,
        "GNU multi-volume": h(V + b"b", kind=b"M", magic=GNU) + END,
        "GNU volume label": h(V + b"b", kind=b"V", magic=GNU) + END,
        "GNU dump folder": h(V + b"b", kind=b"D", magic=GNU) + END,
        "unknown type": h(V + b"b", kind=b"Z") + END,
        "global PAX header": pax(record(b"path", V + b"b"), b"g") + good + END,
        "Solaris extended header": pax(record(b"path", V + b"b"), b"X") + good + END,
        "absolute name": h(b"/digit/1.0.8/a") + END,
        "absolute name after ./": h(b".//digit/1.0.8/a") + END,
        "climbing name": h(b"digit/1.0.8/../../../a") + END,
        "climbing folder": h(b"digit/../../x/", kind=b"5") + END,
        "only ..": h(b"..", kind=b"5") + END,
        "dot inside": h(b"digit/./1.0.8/a") + END,
        "two leading dots": h(b"././digit/1.0.8/a") + END,
        "empty name": h(b"") + END,
        "empty folder name": h(b"", kind=b"5") + END,
        "only a slash": h(b"/", kind=b"5") + END,
        "empty component": h(b"digit//1.0.8/a") + END,
        "file with a trailing slash": h(V + b"a/") + END,
        "folder with two trailing slashes": h(V + b"/", kind=b"5") + END,
        "control character": h(V + b"a\x1b[2J") + END,
        "line feed": h(V + b"a\nb") + END,
        "delete character": h(V + b"a\x7f") + END,
        "C1 control character": h(V + "a\x9b".encode()) + END,
        "line separator": h(V + "a\u2028".encode()) + END,
        "name that is not UTF-8": h(V + b"\xff\xfe") + END,
        "surrogates in UTF-8": h(V + b"\xed\xa0\x80") + END,
        "component over 255 bytes": pax(record(b"path", V + b"x" * 256)) + good + END,
        "deeper than eight": h(b"digit/" + b"d/" * 8 + b"a") + END,
        "prefix that climbs": h(b"a", prefix=b"digit/..") + END,
        "prefix that is absolute": h(b"1.0.8/a", prefix=b"/digit") + END,
        "duplicate": good + good + END,
        "duplicate through ./": good + h(b"./" + V + b"a") + END,
        "case collision": good + h(V + b"A") + END,
        "case collision of folders": good
        + h(b"digit/1.0.8/B/", kind=b"5")
        + h(b"Digit/", kind=b"5")
        + END,
        "Unicode collision": h(V + "é".encode()) + h(V + "e\u0301".encode()) + END,
        "sharp s collision": h(V + "ß".encode()) + h(V + b"SS") + END,
        "file and folder of one name": good + h(V + b"a/", kind=b"5") + END,
        "file below a file": good + h(V + b"a/b") + END,
        "another top folder": good + h(b"other/1.0.8/a") + END,
        "file at the top": good + h(b"digit") + END,
        "member beside the version": good + h(b"digit/a") + END,
        "bad checksum": h(V + b"a", checksum=b"000000\0 ") + END,
        "checksum that is no number": h(V + b"a", checksum=b"zzzzzz\0 ") + END,
        "no magic": h(V + b"a", magic=bytes(8)) + END,
        "garbage instead of a header": good + b"garbage!" * 64 + END,
        "size that is not octal": h(V + b"a", b"0000000000x\0") + END,
        "empty size": h(V + b"a", bytes(12)) + END,
        "signed size": h(V + b"a", b"-0000000001\0") + END,
        "negative base-256 size": h(V + b"a", b"\xff" * 12) + END,
        "absurd base-256 size": h(V + b"a", b"\x80" + b"\xff" * 11) + END,
        "size beyond the end": h(V + b"a", 8**11 - 1) + END,
        "base-256 size beyond the end": h(V + b"a", b"\x80" + (1 << 60).to_bytes(11, "big")) + END,
        "folder with content": h(V, 512, b"5") + bytes(512) + END,
        "PAX size of a folder": pax(record(b"size", b"512")) + h(V, kind=b"5") + END,
        "PAX link path": pax(record(b"linkpath", b"/etc")) + good + END,
        "PAX sparse": pax(record(b"GNU.sparse.major", b"1")) + good + END,
        "PAX sparse name": pax(record(b"GNU.sparse.name", V + b"b")) + good + END,
        "PAX character set": pax(record(b"hdrcharset", b"BINARY")) + good + END,
        "unknown PAX key": pax(record(b"vendor.key", b"1")) + good + END,
        "PAX path that climbs": pax(record(b"path", b"digit/1.0.8/../../../a")) + good + END,
        "empty PAX path": pax(record(b"path", b"")) + good + END,
        "PAX path with NUL": pax(record(b"path", V + b"a\0b")) + good + END,
        "PAX path twice": pax(record(b"path", V + b"a") * 2) + good + END,
        "PAX size negative": pax(record(b"size", b"-1")) + good + END,
        "PAX size absurd": pax(record(b"size", b"9" * 19)) + good + END,
        "PAX size of many digits": pax(record(b"size", b"9" * 5000)) + good + END,
        "PAX record without length": pax(b"path=a\n") + good + END,
        "PAX record of length 0": pax(b"0 path=a\n") + good + END,
        "PAX record cut off": pax(b"99 path=a\n") + good + END,
        "PAX record without value": pax(b"7 path\n") + good + END,
        "two PAX headers": pax(record(b"path", V + b"a")) * 2 + good + END,
        "PAX header over 64 KiB": pax(record(b"comment", b"x" * (64 << 10))) + good + END,
        "PAX header of 8 GiB": h(b"x", 8**11 - 1, b"x") + END,
        "PAX header without a member": good + pax(record(b"path", V + b"b")) + END,
        "long name over 64 KiB": long_name(b"x" * (65 << 10) + b"\0") + good + END,
        "long name without NUL": long_name(V + b"b") + good + END,
        "long name with NUL inside": long_name(V + b"b\0c\0") + good + END,
        "empty long name": long_name(b"") + good + END,
        "two long names": long_name(V + b"b\0") * 2 + good + END,
        "long name and PAX path": (
            long_name(V + b"b\0") + pax(record(b"path", V + b"c")) + good + END
        ),
        "one zero block, then a member": good + bytes(512) + h(V + b"b") + END,
        "one zero block only": good + bytes(512),
        "no end": good,
        "a member after the end": good + bytes(1024) + h(V + b"b") + END,
        "garbage after the end": good + END + b"x" * 512,
        "half a block after the end": good + END + bytes(100),
        "endless zeros after the end": good + END + bytes(2 << 20),
        "chain of symbolic links, then a file through it": (
            h(V + b"b", kind=b"2", link=b"..")
            + h(V + b"c", kind=b"2", link=b"b/..")
            + h(V + b"c/d", 1)
            + padded(b"x")
            + END
        ),
        "chain of hard links": (
            h(V + b"b", kind=b"1", link=b"/etc/passwd")
            + h(V + b"c", kind=b"1", link=V + b"b")
            + END
        ),
        "folder, then a link of its name": (
            h(V + b"b/", kind=b"5") + h(V + b"b", kind=b"2", link=b"/tmp") + END
        ),
        "symbolic link named by PAX": (
            pax(record(b"path", V + b"b") + record(b"linkpath", b"/etc"))
            + h(b"x", kind=b"2", link=b"y")
            + END
        ),
        "PAX sparse 0.0": (
            pax(
                record(b"GNU.sparse.size", b"1099511627776") + record(b"GNU.sparse.numblocks", b"1")
            )
            + good
            + END
        ),
        "PAX sparse 0.1": pax(record(b"GNU.sparse.map", b"0,1,1099511627776,1")) + good + END,
        "PAX sparse real size": pax(record(b"GNU.sparse.realsize", b"9" * 12)) + good + END,
        "PAX size that hides a member": (
            pax(record(b"size", b"512")) + good + h(V + b"hidden") + END[:512] + b"x" * 512
        ),
        "PAX size smaller than the content": (
            pax(record(b"size", b"0")) + h(V + b"b", 512) + b"x" * 512 + END
        ),
        "PAX size in other digits": pax(record(b"size", "\u0661".encode())) + good + END,
        "PAX record with a sign": pax(b"+9 a=b\n") + good + END,
        "PAX key with a NUL": pax(record(b"pa\0th", b"x")) + good + END,
        "PAX header for a link": pax(record(b"path", V + b"b")) + h(kind=b"2", link=b"/etc") + END,
        "x after x": pax(record(b"mtime", b"1")) + pax(record(b"path", V + b"b")) + good + END,
        "long name after a global header": (
            pax(record(b"comment", b"x"), b"g") + long_name(V + b"b\0") + good + END
        ),
        "long name that climbs": long_name(b"digit/1.0.8/../../../x\0") + good + END,
        "long name that is absolute": long_name(b"/etc/cron.d/x\0") + good + END,
        "base-256 size of 2**63": h(V + b"b", b"\x80\0\0\0" + (1 << 63).to_bytes(8, "big")) + END,
        "base-256 size that overflows": (
            h(V + b"b", b"\x80\0\0" + ((1 << 64) + 512).to_bytes(9, "big")) + bytes(512) + END
        ),
        "a second archive after the end": good + END + h(V + b"b") + END,
        "Windows path": h(b"digit\\1.0.8\\a") + END,
        "drive letter": h(b"C:/x") + END,
        "folder that turns the text round": h(b"digit/\xe2\x80\xae/", kind=b"5") + END,
        "hundred folders": b"".join(h(b"digit/%d/" % n, kind=b"5") for n in range(100)) + END,
        "fullwidth collision": h(V + b"k") + h(V + "\u212a".encode()) + END,
    }


def compressed_attacks(tar: bytes) -> dict[str, tuple[str, bytes]]:
    """Name of the attack -> suffix and bytes of an archive."""
    gz, zst = gzip.compress(tar), zstandard.ZstdCompressor(write_checksum=True).compress(tar)
    empty = gzip.compress(b"")
    dictionary = zstandard.ZstdCompressionDict(tar[:1024])
    return {
        "empty gz": (".tar.gz", b""),
        "plain tar named gz": (".tar.gz", tar),
        "zst named gz": (".tar.gz", zst),
        "gz named zst": (".tar.zst", gz),
        "gz named tar": (".tar", gz),
        "zst named tar": (".tar", zst),
        "unknown suffix": (".zip", gz),
        "text after gz": (".tar.gz", gz + b"text"),
        "zeros after gz": (".tar.gz", gz + bytes(512)),
        "half a magic after gz": (".tar.gz", gz + b"\x1f\x8b"),
        "half a member after gz": (".tar.gz", gz + gz[:20]),
        "a second archive after gz": (".tar.gz", gz + gz),
        "cut in the gz trailer": (".tar.gz", gz[:-1]),
        "wrong gz checksum": (".tar.gz", gz[:-8] + b"abcd" + gz[-4:]),
        "wrong gz length": (".tar.gz", gz[:-4] + b"abcd"),
        "gz of another method": (".tar.gz", gz[:2] + b"\x07" + gz[3:]),
        "gz of invalid deflate": (".tar.gz", gz[:10] + b"\x07" + gz[11:]),
        "gz distance too far back": (".tar.gz", gz[:10] + b"\x03\x02\x00" + gz[13:]),
        "many empty gz members": (".tar.gz", empty * 2000 + gz),
        "endless gz header": (".tar.gz", b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * 100_000),
        "gz bomb": (".tar.gz", _gzipped(tar + bytes(64 << 20))),
        "empty zst": (".tar.zst", b""),
        "text after zst": (".tar.zst", zst + b"text"),
        "cut in the zst checksum": (".tar.zst", zst[:-1]),
        "wrong zst checksum": (".tar.zst", zst[:-4] + b"abcd"),
        "zst skippable frame": (".tar.zst", b"\x50\x2a\x4d\x18\x04\0\0\0abcd" + zst),
        "zst with a dictionary": (
            ".tar.zst",
            zstandard.ZstdCompressor(dict_data=dictionary).compress(tar),
        ),
        "zst window of 2 GiB": (
            ".tar.zst",
            b"\x28\xb5\x2f\xfd\x00" + bytes([21 << 3]) + b"\x01\x00\x00",
        ),
        "zst reserved block": (".tar.zst", b"\x28\xb5\x2f\xfd\x00\x58" + b"\x07\x00\x00"),
        "zst block over 128 KiB": (
            ".tar.zst",
            b"\x28\xb5\x2f\xfd\x00\x58" + struct.pack("<I", 1 | (1 << 20) << 3)[:3],
        ),
        "zst bomb of repeated bytes": (
            ".tar.zst",
            b"\x28\xb5\x2f\xfd\x00\x58"
            + (struct.pack("<I", 2 | (128 << 10) << 3)[:3] + b"\0") * 2000
            + b"\x01\x00\x00",
        ),
    }


NOT_TAR = {
    "nothing": b"",
    "nothing but zeros": END,
    "random bytes": hashlib.shake_256(b"random").digest(20_480),
    "text": b"<html>404</html>" * 40,
}


def endless_headers() -> bytes:
    """Over 200 MB of folder headers in a file of 1 MB."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    some = tar_header(b"./", kind=b"5") * 1000
    return b"".join(packer.compress(some) for _ in range(410)) + packer.flush()


def _gzipped(data: bytes) -> bytes:
    return gzip.compress(data, 1, mtime=0)


def _zstandard(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


_PACK: dict[str, Callable[[bytes], bytes]] = {
    ".tar": bytes,
    ".tar.gz": _gzipped,
    ".tar.zst": _zstandard,
}


def good_archives() -> Iterator[Attack]:
    """The archive that every attack starts from: it can be extracted."""
    for suffix, pack in _PACK.items():
        yield Attack(f"nothing wrong{suffix}", suffix, pack(GOOD_TAR))
        yield Attack(f"nothing wrong{suffix} with a sidecar", suffix, pack(GOOD_TAR), {})


def attacks() -> Iterator[Attack]:
    """All of them: in the stream, in the compression, in the sidecar, and cut off anywhere."""
    for name, stream in tar_attacks().items():
        yield Attack(name, ".tar.gz", _gzipped(MEMBERS + stream))
        yield Attack(f"{name}, sidecar", ".tar", MEMBERS + stream, {})
    for name, stream in NOT_TAR.items():
        for suffix, pack in _PACK.items():
            yield Attack(f"{name}{suffix}", suffix, pack(stream))
    for name, (suffix, data) in compressed_attacks(GOOD_TAR).items():
        if suffix != ".zip":
            yield Attack(name, suffix, data)
            yield Attack(f"{name}, sidecar", suffix, data, {})
    for suffix, pack in _PACK.items():
        whole = pack(GOOD_TAR)
        for length in range(0, len(whole), 512):
            if whole[:length].count(0) < length and not _is_whole(suffix, whole[:length]):
                yield Attack(f"cut at {length}{suffix}", suffix, whole[:length])
                yield Attack(f"cut at {length}{suffix}, sidecar", suffix, whole[:length], {})
    yield Attack("endless headers", ".tar.gz", endless_headers())
    yield from _sidecar_attacks()


def _is_whole(suffix: str, data: bytes) -> bool:
    """Whether only zeros after the two that end a tar are missing, which changes nothing."""
    return suffix == ".tar" and len(data) >= len(GOOD_TAR) - len(END) + 1024


def _sidecar_attacks() -> Iterator[Attack]:
    data = _gzipped(GOOD_TAR)
    members = sidecar_of(".tar.gz", data)["members"]
    other = {"path": "digit/1.0.8/z", "size": 0, "sha256": hashlib.sha256().hexdigest()}
    wrong: dict[str, dict[str, Any]] = {
        "another size": {"size": 1},
        "another sha256": {"sha256": "0" * 64},
        "another tar_sha256": {"tar_sha256": "0" * 64},
        "a sha256 that is none": {"sha256": "x" * 64},
        "a member more": {"members": [*members, other]},
        "a member less": {"members": members[1:]},
        "a member of another size": {"members": [{**members[0], "size": 1}, *members[1:]]},
        "a member of another sha256": {
            "members": [{**members[0], "sha256": "0" * 64}, *members[1:]]
        },
        "a member twice": {"members": [*members, members[0]]},
        "a member that climbs": {"members": [{**other, "path": "digit/1.0.8/../../x"}]},
        "a member that is absolute": {"members": [{**other, "path": "/etc/x"}]},
        "a member of endless size": {"members": [{**members[0], "size": 2**63}, *members[1:]]},
        "no members": {"members": []},
        "members that collide": {"members": [*members, {**other, "path": "digit/1.0.8/A"}]},
        "another folder": {"subdir": ["digit/1.0.9"]},
        "a folder that climbs": {"subdir": ["digit/1.0.8", "../x"]},
        "another dataset": {"ref": "other:1.0.8"},
        "another schema": {"schema": 2},
        "half a character": {"license": "\ud800"},
        "an endless number": {"compression": {"level": float("inf")}},
    }
    for name, change in wrong.items():
        yield Attack(f"sidecar with {name}", ".tar.gz", data, change)
    for name, content in (
        ("nothing", b""),
        ("brackets", b"[" * 100_000),
        ("a list", b"[]"),
        ("bytes", b"\xff\xfe"),
        ("half of itself", _json(sidecar_of(".tar.gz", data))[:300]),
    ):
        yield Attack(f"sidecar of {name}", ".tar.gz", data, raw_sidecar=content)


def sidecar_of(suffix: str, data: bytes) -> dict[str, Any]:
    """What a careful attacker puts beside an archive: it fits, and lists the harmless members."""
    contents = {**FILES, "digit/1.0.8/a": b""}
    tar = data if suffix == ".tar" else GOOD_TAR
    return {
        "schema": 1,
        "ref": "digit:1.0.8",
        "archive": f"{NAME}{suffix}",
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "tar_sha256": hashlib.sha256(tar).hexdigest(),
        "compression": {"format": "gz"},
        "subdir": ["digit/1.0.8"],
        "members": [
            {"path": path, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for path, content in contents.items()
        ],
        "created": "2025-01-02T03:04:05Z",
        "dsmanager_version": "0.1.0",
        "sources": [],
        "splits": {},
    }

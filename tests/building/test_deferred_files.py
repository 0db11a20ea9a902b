"""Builds of images in files: read later, or again, where that is safe, and always the same."""

from __future__ import annotations

import os
import tarfile
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dsmanager.building.writing.images import encode_jpeg
from dsmanager.errors import DsmanagerError
from dsmanager.records.example import parse_example
from dsmanager.records.splicing import CAN_SPLICE
from dsmanager.records.tfrecord import read_records

Write = Callable[..., Path]
FEATURES = "{'n': np.int64, 'image': tfds.features.Image(encoding_format='jpeg'), 'z': np.int64}"
ONCE_MORE = "now nothing is left to be read later"
GIVEN = {
    "named": "str(path)",
    "read": "path.read_bytes()",
    "read into memory": "io.BytesIO(path.read_bytes())",
    "open": "open(path, 'rb')",
}
"""How an example has its image."""
COUNT = 200

pytestmark = pytest.mark.usefixtures("no_tensorflow")


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """Images of up to 40 KB, old enough to be trusted."""
    folder = tmp_path / "sources"
    folder.mkdir()
    for number in range(COUNT):
        (folder / f"{number:03}").write_bytes(_content(number))
    (folder / "link").symlink_to("005")
    return folder


def _content(number: int) -> bytes:
    """An image with a tail, of ``number * 211`` bytes where it fits in there."""
    image = _image()
    return image + bytes([number]) * (number * 211 - len(image))


@cache
def _image() -> bytes:
    return encode_jpeg(np.zeros((8, 8, 3), np.uint8))


def _images(tree: Path) -> dict[int, bytes]:
    found = {}
    for path in sorted(tree.glob("*.tfrecord-*")):
        for record in read_records(path):
            example = parse_example(record)
            found[example["n"][0]] = example["image"][0]
            assert example["z"] == [-1]
    return found


def _build(bench: Any, write_builder: Write, body: str, sources: Path, **options: Any) -> Path:
    builder = write_builder(
        top=f"import io, os, pathlib\nSOURCES = pathlib.Path({str(sources)!r})",
        features=FEATURES,
        body=body,
    )
    tree: Path = bench.build(builder, **options)
    assert bench.leftovers == []
    return tree


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize("workers", [1, 2])
def test_paths_of_every_kind_give_the_bytes_of_their_files(
    bench: Any, write_builder: Write, sources: Path, workers: int, verify: bool
) -> None:
    odd = os.fsdecode(os.fsencode(sources) + b"/odd \xff\n")
    Path(odd).write_bytes(_content(COUNT - 1))
    body = """
    for n in range(200):
        path = SOURCES / f'{n:03}'
        yield n, {'n': n, 'image': path if n % 2 else str(path), 'z': -1}
    os.chdir(SOURCES)
    yield 200, {'n': 200, 'image': '150', 'z': -1}
    os.chdir('/')
    yield 201, {'n': 201, 'image': SOURCES / 'link', 'z': -1}
    yield 202, {'n': 202, 'image': os.fsdecode(os.fsencode(SOURCES) + bytes([47]) + NAME), 'z': -1}
    with open(SOURCES / '199', 'rb') as file:
        yield 203, {'n': 203, 'image': file, 'z': -1}
    """.replace("NAME", repr(b"odd \xff\n"))
    tree = _build(bench, write_builder, body, sources, workers=workers, verify=verify)
    found = _images(tree)
    expected = {number: _content(number) for number in range(COUNT)}
    last = _content(COUNT - 1)
    assert found == {**expected, 200: _content(150), 201: _content(5), 202: last, 203: last}
    assert ONCE_MORE not in bench.log_path.read_text()


def test_files_of_a_builder_that_it_takes_away_are_read_before(
    bench: Any, write_builder: Write, sources: Path
) -> None:
    """One that it makes for each example, and the sources themselves."""
    body = """
    passing = SOURCES / 'passing'
    for n in range(200):
        path = SOURCES / f'{n:03}'
        passing.write_bytes(path.read_bytes())
        yield n, {'n': n, 'image': passing, 'z': -1}
        yield 200 + n, {'n': 200 + n, 'image': path, 'z': -1}
        path.unlink()
        passing.unlink()
    """
    found = _images(_build(bench, write_builder, body, sources))
    assert found == {n: _content(n % COUNT) for n in range(2 * COUNT)}
    assert ONCE_MORE not in bench.log_path.read_text()


@pytest.fixture(params=GIVEN)
def body(request: pytest.FixtureRequest) -> str:
    """Yields an example for each file, which has its image in one of the ways."""
    return f"""
for n in range(200):
    path = SOURCES / f'{{n:03}}'
    yield n, {{'n': n, 'image': {GIVEN[request.param]}, 'z': -1}}
"""


TELL_SPILLED = """
import gc
from dsmanager.building.writing.spill import Spill
spill, = (each for each in gc.get_objects() if type(each) is Spill)
print('spilled', spill._end)
"""


def _spilled_bytes(bench: Any) -> int:
    return int(bench.log_path.read_text().rpartition("spilled ")[2].split()[0])


READ_AT_ONCE_BYTES = sum(number * 211 for number in range(78 + 64))
"""Of files that are not worth it, and of those on trial; some of them are larger than that."""


@pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
def test_content_is_not_written_twice(
    bench: Any, write_builder: Write, sources: Path, body: str, file_format: str
) -> None:
    """The spill is asked for its size when the generator has ended.

    What another process makes records of has no content.
    """
    tree = _build(bench, write_builder, body + TELL_SPILLED, sources, file_format=file_format)
    assert _spilled_bytes(bench) < READ_AT_ONCE_BYTES + 200 * 300
    if file_format == "tfrecord":
        assert _images(tree) == {number: _content(number) for number in range(COUNT)}


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("first", [50, 190])
def test_content_that_is_not_that_of_its_file_is_kept(
    bench: Any, write_builder: Write, sources: Path, first: int, workers: int, verify: bool
) -> None:
    """While the first files are looked at, and after that: then by the CRC of the record.

    That is looked at when the shard is written, or when it is read again.
    """
    body = f"""
    for n in range(200):
        content = (SOURCES / f'{{n:03}}').read_bytes()
        yield n, {{'n': n, 'image': content[:-1] + b'!' if n >= {first} else content, 'z': -1}}
    """
    tree = _build(bench, write_builder, body, sources, workers=workers, verify=verify)
    expected = {number: _content(number) for number in range(COUNT)}
    for number in range(first, COUNT):
        expected[number] = expected[number][:-1] + b"!"
    assert _images(tree) == expected
    log = bench.log_path.read_text()
    assert (ONCE_MORE in log) == (first == 190)
    assert ("the CRC of a record is wrong" in log) == (first == 190 and verify and CAN_SPLICE)


SHARDS = (
    "import os\nfrom tensorflow_datasets.core.utils.shard_utils import ShardConfig\n"
    "ShardConfig.min_shard_size = 500_000\n"
)


SETTLED = """
import time

def settled(folder):
    changed_ns = max(os.stat(folder / name).st_ctime_ns for name in os.listdir(folder))
    while time.time_ns() - changed_ns < 30_000_000:
        pass  # the clock of files may lag behind
    return folder
"""


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("image", ["folder / name", "(folder / name).read_bytes()"])
def test_a_second_attempt_writes_many_shards_from_what_is_unpacked_again(
    bench: Any, write_builder: Write, sources: Path, image: str, workers: int
) -> None:
    """Of a manual archive; the builder takes away the last files of it, after the trial."""
    archive = bench.folder / "manual" / "photos.zip"
    archive.parent.mkdir(parents=True)
    with zipfile.ZipFile(archive, "w") as file:
        for number in range(COUNT):
            file.write(sources / f"{number:03}", f"{number:03}")
    body = f"""
    folder = dl_manager
    for n, name in enumerate(sorted(os.listdir(folder))):
        yield n, {{'n': n, 'image': {image}, 'z': -1}}
        if n >= 180:
            (folder / name).unlink()
    """
    unpacked = "dl_manager.extract(dl_manager.manual_dir / 'photos.zip')"
    splits = f"{{'train': self._generate_examples(settled({unpacked}))}}"
    builder = write_builder(top=SHARDS + SETTLED, features=FEATURES, body=body, splits=splits)
    tree = bench.build(builder, manual_dir=archive.parent, workers=workers)
    assert len(list(tree.glob("*.tfrecord-*"))) > 2
    assert _images(tree) == {number: _content(number) for number in range(COUNT)}
    assert ONCE_MORE in bench.log_path.read_text()


def test_examples_that_are_missing_the_second_time_are_an_error(
    bench: Any, write_builder: Write, sources: Path
) -> None:
    body = """
    for n, path in enumerate(sorted(SOURCES.iterdir())):
        yield n, {'n': n, 'image': path, 'z': -1}
        if n >= 180:
            path.unlink()
    """
    with pytest.raises(DsmanagerError, match=r"201 examples at first, and 180 when they were made"):
        _build(bench, write_builder, body, sources)
    assert bench.leftovers == []


@pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
def test_a_file_that_changes_before_it_is_read_has_all_read_once_more(
    bench: Any, write_builder: Write, sources: Path, body: str, file_format: str
) -> None:
    body += "(SOURCES / '190').write_bytes(b'new' * 10_000)\n"
    tree = _build(bench, write_builder, body, sources, file_format=file_format)
    log = bench.log_path.read_text()
    assert f"{sources / '190'} does not hold what its example was made from; {ONCE_MORE}" in log
    if file_format == "tfrecord":
        expected = {number: _content(number) for number in range(COUNT)}
        assert _images(tree) == {**expected, 190: b"new" * 10_000}


INNER = """
import pathlib
from dsmanager.records.tfrecord import read_records

def count_of_bangs(data_dir, sources, count):
    class Inner(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        name, url_infos, pkg_dir_path = 'inner', {}, sources
        VERSION = tfds.core.Version('1.0.0')

        def _info(self):
            features = {'image': tfds.features.Image(encoding_format='jpeg')}
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features))

        def _split_generators(self, dl_manager):
            return {'train': self._generate_examples()}

        def _generate_examples(self):
            for n in range(count):
                content = (sources / f'{n:03}').read_bytes()
                yield n, {'image': content[:-1] + b'!' if n == 190 else content}

    inner = Inner(data_dir=f'{data_dir}/{count}')
    inner.download_and_prepare()
    shards = pathlib.Path(inner.data_dir).glob('*.tfrecord-*')
    return sum(b'\\xbe!' in record for path in shards for record in read_records(path))
"""
"""A dataset that a builder builds and reads while it makes its own: of file 190 the end differs."""


@pytest.mark.parametrize("place", ["str(self._data_dir_root)", "tempfile.mkdtemp()"])
def test_a_dataset_that_a_builder_builds_and_reads_itself(
    bench: Any, write_builder: Write, sources: Path, place: str
) -> None:
    """Nobody else reads its shards again."""
    body = f"""
    import tempfile
    sources = pathlib.Path({str(sources)!r})
    found = [count_of_bangs({place}, sources, count) for count in (100, COUNT)]
    yield 0, {{'n': found[0] * 10 + found[1]}}
    """.replace("COUNT", str(COUNT))
    builder = write_builder(top=INNER, features="{'n': np.int64}", body=body)
    (shard,) = bench.build(builder, workers=1).glob("*.tfrecord-*")
    (record,) = read_records(shard)
    assert parse_example(record)["n"] == [1]
    assert bench.log_path.read_text().count(ONCE_MORE) == 1


MEMBERS = {
    "open": "file",
    "read": "file.read()",
    "read into memory": "io.BytesIO(file.read())",
}
"""How an example has its image, of a member of a tar."""
FROM_TAR = """
for name, file in dl_manager.iter_archive(RESOURCE):
    n = int(name)
    yield n, {'n': n, 'image': IMAGE, 'z': -1}
"""
AS_STREAM = (
    "tfds.download.Resource(path=SOURCES / 'all.tar', "
    "extract_method=tfds.download.ExtractMethod.TAR_STREAM)"
)


@pytest.fixture
def tar(sources: Path) -> Path:
    return _tar(sources)


def _tar(sources: Path, mode: Any = "w") -> Path:
    """All of the images; the last one is a hard link to the one before, which is read at once."""
    path = sources / "all.tar"
    with tarfile.open(path, mode) as archive:
        for number in range(COUNT - 1):
            archive.add(sources / f"{number:03}", f"{number:03}")
        link = archive.gettarinfo(sources / f"{COUNT - 2:03}", f"{COUNT - 1:03}")
        link.type, link.linkname, link.size = tarfile.LNKTYPE, f"{COUNT - 2:03}", 0
        archive.addfile(link)
    return path


TARRED = {number: _content(min(number, COUNT - 2)) for number in range(COUNT)}


@pytest.mark.parametrize("image", MEMBERS.values(), ids=MEMBERS)
@pytest.mark.parametrize("workers", [1, 2])
def test_members_of_a_tar_are_not_written_twice(
    bench: Any, write_builder: Write, sources: Path, tar: Path, image: str, workers: int
) -> None:
    body = FROM_TAR.replace("RESOURCE", f"SOURCES / {tar.name!r}").replace("IMAGE", image)
    tree = _build(bench, write_builder, body + TELL_SPILLED, sources, workers=workers)
    assert _images(tree) == TARRED
    assert _spilled_bytes(bench) < READ_AT_ONCE_BYTES + len(TARRED[COUNT - 1]) + 200 * 300
    assert ONCE_MORE not in bench.log_path.read_text()


def test_members_of_a_tar_that_is_a_stream_are_not_written_twice(
    bench: Any, write_builder: Write, sources: Path, tar: Path
) -> None:
    body = FROM_TAR.replace("RESOURCE", AS_STREAM).replace("IMAGE", "file.read()")
    tree = _build(bench, write_builder, body + TELL_SPILLED, sources)
    images = _images(tree)
    assert images == {number: TARRED[number] for number in range(COUNT - 1)}  # links have none
    assert _spilled_bytes(bench) < READ_AT_ONCE_BYTES + 200 * 300


@pytest.mark.parametrize("resource", ["SOURCES / 'all.tar'", AS_STREAM])
def test_a_compressed_tar_that_is_called_tar_is_read_once(
    bench: Any, write_builder: Write, sources: Path, resource: str
) -> None:
    _tar(sources, "w:gz")
    body = FROM_TAR.replace("RESOURCE", resource).replace("IMAGE", "file.read()")
    images = _images(_build(bench, write_builder, body + TELL_SPILLED, sources))
    assert images == {number: TARRED[number] for number in images}
    assert len(images) >= COUNT - 1
    assert _spilled_bytes(bench) > sum(map(len, images.values()))
    assert ONCE_MORE not in bench.log_path.read_text()


@pytest.mark.parametrize("workers", [1, 2])
def test_content_that_is_not_that_of_its_member_is_kept(
    bench: Any, write_builder: Write, sources: Path, tar: Path, workers: int
) -> None:
    image = "(content := file.read())[:-1] + b'!' if n >= 190 else file"
    body = FROM_TAR.replace("RESOURCE", f"SOURCES / {tar.name!r}").replace("IMAGE", image)
    expected = {n: each[:-1] + b"!" if n >= 190 else each for n, each in TARRED.items()}
    assert _images(_build(bench, write_builder, body, sources, workers=workers)) == expected
    assert ONCE_MORE in bench.log_path.read_text()


CHANGE_MEMBER_198 = """
with open(SOURCES / 'all.tar', 'r+b') as file:
    file.seek(file.read().rindex(bytes([198]) * 1000))
    file.write(b'new')
"""


def test_a_tar_that_changes_before_it_is_read_again_has_all_read_once_more(
    bench: Any, write_builder: Write, sources: Path, tar: Path
) -> None:
    body = FROM_TAR.replace("RESOURCE", f"SOURCES / {tar.name!r}").replace("IMAGE", "file")
    images = _images(_build(bench, write_builder, body + CHANGE_MEMBER_198, sources))
    assert ONCE_MORE in bench.log_path.read_text()
    assert {n: each for n, each in images.items() if n < 198} == {
        n: each for n, each in TARRED.items() if n < 198
    }
    assert b"new" in images[198]

"""Records that are made in a process beside the generator: the same as here, and as safe."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from dsmanager.errors import DsmanagerError
from dsmanager.records.example import parse_example
from dsmanager.records.tfrecord import read_records

Write = Callable[..., Path]
COUNT = 300
TOP = """
import os, pathlib, signal
SOURCES = pathlib.Path({sources!r})

def image(n):
    return (SOURCES / f'{{n % 100:02}}').read_bytes()

def maker():
    '''The process that makes records: of all that were forked the last one.'''
    me = str(os.getpid())
    with open(f'/proc/self/task/{{me}}/children') as file:
        return int(file.read().split()[-1])

def sleeps(pid):
    with open(f'/proc/{{pid}}/stat') as file:
        return file.read().rpartition(')')[2].split()[0] == 'S'
"""
FEATURES = {
    "plain": "'label': tfds.features.ClassLabel(names=['no', 'yes'])",
    "text": "'text': tfds.features.Text()",
    "list": "'list': tfds.features.Sequence(np.int64)",
    "texts": "'texts': tfds.features.Sequence(tfds.features.Text())",
    "optional": "'optional': tfds.features.Tensor(shape=(2,), dtype=np.int64, optional=True)",
    "array": "'array': tfds.features.Tensor(shape=(3,), dtype=np.float32)",
    "scalar": "'scalar': np.float32",
    "boxes": "'boxes': tfds.features.Sequence({'box': tfds.features.BBoxFeature(), 'n': np.int64})",
    "nested": "'nested': {'image': tfds.features.Image(), 'n': np.int64}",
}
VALUES = {
    "plain": "'label': 'yes' if n % 2 else 0",
    "text": "'text': 'x' * (20_000 if n % 50 == 49 else n)",
    "list": "'list': listed",
    "texts": "'texts': ['one', b'two', 'x' * n]",
    "optional": "'optional': np.arange(n, n + 2) if n % 2 else None",
    "array": "'array': array",
    "scalar": "'scalar': np.float32(n)",
    "boxes": "'boxes': [{'box': tfds.features.BBox(0.0, 0.5, n / 400, 1.0), 'n': n}] * (n % 3)",
    "nested": "'nested': {'image': image(n + 1), 'n': n}",
}

pytestmark = pytest.mark.usefixtures("no_tensorflow")


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """Files of 20 KB, old enough to be trusted when a builder has been started."""
    folder = tmp_path / "sources"
    folder.mkdir()
    for number in range(100):
        (folder / f"{number:02}").write_bytes(bytes([number]) * (20_000 + number))
    return folder


@pytest.fixture
def write(write_builder: Write, sources: Path) -> Write:
    def write(
        body: str, *, features: str = "'n': np.int64", more_top: str = "", **more: Any
    ) -> Path:
        return write_builder(
            top=TOP.format(sources=str(sources)) + more_top,
            features=f"{{'image': tfds.features.Image(), {features}}}",
            body=body,
            **more,
        )

    return write


def _sha256(tree: Path) -> dict[str, str]:
    shards = sorted(tree.glob("*-0*"))
    assert shards
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in shards}


def _examples(tree: Path) -> list[Mapping[str, Any]]:
    shards = sorted(tree.glob("*.tfrecord-*"))
    return [parse_example(record) for shard in shards for record in read_records(shard)]


EACH = "for n in range(300):\n    yield n, {'image': image(n), 'n': n}\n"


@pytest.mark.parametrize("kind", FEATURES)
def test_values_of_every_kind_give_the_same_records_as_in_one_process(
    bench: Any, write: Write, kind: str
) -> None:
    """The builder uses its lists and arrays again for each example."""
    body = f"""
    listed, array = [], np.zeros(3, np.float32)
    for n in range({COUNT}):
        listed.append(n)
        del listed[:-4]
        array += n
        yield f'key {{n}}', {{'image': image(n), {VALUES[kind]}}}
    """
    builder = write(body, features=FEATURES[kind])
    alone = _sha256(bench.build(builder, workers=1, verify=False))
    assert _sha256(bench.build(builder, workers=2, verify=False)) == alone
    assert bench.leftovers == []


@pytest.mark.parametrize("kind", ["plain", "texts", "boxes", "nested"])
def test_it_makes_the_records_of_all_but_the_first(bench: Any, write: Write, kind: str) -> None:
    body = f"""
    for n in range({COUNT}):
        yield n, {{'image': image(n), {VALUES[kind]}}}
    import gc
    from dsmanager.building.writing.spill import Spill
    print('here', [each.count for each in gc.get_objects() if type(each) is Spill])
    """
    bench.build(write(body, features=FEATURES[kind]), workers=2, verify=False)
    first = 32 if kind == "nested" else 64  # of images
    assert f"here [{first}]" in bench.log_path.read_text()
    assert bench.progress.snapshot().items_done == COUNT


def test_a_timeout_that_a_builder_sets_for_all_sockets_does_not_matter(
    bench: Any, write: Write
) -> None:
    """The other process waits for examples meanwhile."""
    top = "import socket\nsocket.setdefaulttimeout(0.05)\n"
    body = EACH.replace(
        "    yield", "    while n == 150 and not sleeps(maker()):\n        pass\n    yield"
    )
    tree = bench.build(write(body, more_top=top), workers=2, verify=False)
    assert len(_examples(tree)) == COUNT


@pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
def test_several_splits(bench: Any, write: Write, file_format: str) -> None:
    splits = "{name: self._generate_examples(name) for name in ('train', 'test', 'more')}"
    one, two = (
        _sha256(
            bench.build(
                write(EACH, splits=splits), workers=workers, verify=False, file_format=file_format
            )
        )
        for workers in (1, 2)
    )
    assert len(one) == 3
    assert one == two


@pytest.mark.parametrize("workers", [1, 2])
def test_examples_that_stay_in_their_order(bench: Any, write: Write, workers: int) -> None:
    """Whether their keys are numbers or not, and in whichever way they are given."""
    body = """
    for n in range(300):
        example = {'image': image(n), 'n': n}
        yield (f'key {n}', example) if n % 3 else [f'key {n}', example]
    """
    builder = write(body)
    file = next(builder.glob("*.py"))
    told = 'description="A sample."'
    assert told in file.read_text()
    file.write_text(file.read_text().replace(told, f"{told}, disable_shuffling=True"))
    tree = bench.build(builder, workers=workers, verify=False)
    assert [example["n"] for example in _examples(tree)] == [[n] for n in range(COUNT)]


SMALL = """
mask = SOURCES / 'mask'
for n in range(300):
    mask.write_bytes(b'%d' % n)
    yield n, {'image': image(n), MASK}
    mask.unlink()
"""
MASKS = {
    "'mask': str(mask)": "'mask': tfds.features.Image()",
    "'masks': [str(mask)] * 2": "'masks': tfds.features.Sequence(tfds.features.Image())",
    "'nested': {'mask': mask}": "'nested': {'mask': tfds.features.Image()}",
}


@pytest.mark.parametrize("mask", MASKS)
def test_small_files_are_read_when_they_are_named(bench: Any, write: Write, mask: str) -> None:
    """The builder writes another one, to the same name, for each example."""
    builder = write(SMALL.replace("MASK", mask), features=MASKS[mask])
    tree = bench.build(builder, workers=2, verify=False)
    found = [
        value
        for example in _examples(tree)
        for name, values in example.items()
        for value in values
        if "mask" in name
    ]
    each = 2 if "*" in mask else 1
    assert sorted(found) == sorted([b"%d" % n for n in range(COUNT)] * each)


def test_paths_are_of_the_folder_that_the_builder_is_in(
    bench: Any, write: Write, sources: Path
) -> None:
    (sources / "small").write_bytes(b"abc")
    body = """
    os.chdir(SOURCES)
    for n in range(300):
        yield n, {'image': f'{n % 100:02}', 'mask': 'small'}
    """
    features = "'mask': tfds.features.Image()"
    one, two = (
        _sha256(bench.build(write(body, features=features), workers=workers, verify=False))
        for workers in (1, 2)
    )
    assert one == two


@pytest.mark.parametrize("label", ["num_classes=3", ""])
def test_names_of_labels_that_are_known_late(bench: Any, write: Write, label: str) -> None:
    body = """
    self.info.features['label'].names = ['2', '0', '1']
    for n in range(300):
        yield n, {'image': image(n), 'label': str(n % 3), 'n': n}
    """
    features = f"'label': tfds.features.ClassLabel({label}), 'n': np.int64"
    tree = bench.build(write(body, features=features), workers=2, verify=False)
    for example in _examples(tree):
        assert example["label"] == [(example["n"][0] + 1) % 3]


INNER = """
def inner(last_key):
    class Inner(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        name, url_infos = 'inner', {}
        pkg_dir_path = SOURCES
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            label = tfds.features.ClassLabel(names=['x', 'a', 'b'])
            features = {'image': tfds.features.Image(), 'label': label}
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features))

        def _split_generators(self, dl_manager):
            return {'train': self._generate_examples()}

        def _generate_examples(self):
            for n in [*range(300), last_key]:
                yield n, {'image': image(0), 'label': 'ab'[int(n) % 2]}

    return Inner

def built(last_key=300):
    import tempfile
    from dsmanager.records.example import parse_example
    from dsmanager.records.tfrecord import read_records
    with tempfile.TemporaryDirectory() as folder:
        builder = inner(last_key)(data_dir=folder)
        builder.download_and_prepare()
        return sum(
            parse_example(record)['label'][0]
            for path in pathlib.Path(builder.data_dir).glob('*.tfrecord-*')
            for record in read_records(path))
"""


@pytest.mark.parametrize("place", ["splits", "generator"])
def test_a_builder_that_builds_another_one(bench: Any, write: Write, place: str) -> None:
    body = """
    for n in range(300):
        yield n, {'image': image(n), 'n': n}
        if n == 200:
            yield 300, {'image': image(300), 'n': SUM}
    """
    sums = {"splits": "dl_manager", "generator": "built()"}[place]
    splits = "{'train': self._generate_examples(built())}"
    tree = bench.build(
        write(body.replace("SUM", sums), splits=splits, more_top=INNER), workers=2, verify=False
    )
    assert [451] in [example["n"] for example in _examples(tree)]
    assert len(_examples(tree)) == COUNT + 1


def test_a_builder_that_does_without_another_one_that_fails(bench: Any, write: Write) -> None:
    top = """
def failed():
    try:
        built(0.5)
    except Exception as error:
        print('inside:', error)
"""
    splits = "{'train': self._generate_examples(failed())}"
    tree = bench.build(write(EACH, splits=splits, more_top=INNER + top), workers=2, verify=False)
    assert len(_examples(tree)) == COUNT
    assert "inside: the builder failed: " in bench.log_path.read_text()


def test_the_example_before_is_gone_when_the_next_one_is_made(bench: Any, write: Write) -> None:
    body = """
    import weakref
    class Content(np.ndarray):
        pass
    def made(n):
        array = np.zeros((50, 50, 3), np.uint8).view(Content)
        return weakref.ref(array), (n, {'image': array.view(np.ndarray), 'n': n})
    last = None
    for n in range(5):
        if last is not None:
            print('still there:', last() is not None)
        last, pair = made(n)
        yield pair
        del pair
    """
    bench.build(write(body), workers=2, verify=False)
    assert bench.log_path.read_text().count("still there: False") == 4


def test_what_no_record_can_be_made_of_there_is_told(bench: Any, write: Write) -> None:
    """The generator would go on for ever, and has its process ended by a broken pipe."""
    body = """
    import itertools
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    for n in itertools.count():
        yield n + 0.5 if n == 200 else n, {'image': image(n), 'n': n}
    """
    with pytest.raises(DsmanagerError, match=r"the builder failed: .*Invalid key type: 200\.5"):
        bench.build(write(body), workers=2, verify=False)
    assert bench.leftovers == []


def test_the_first_examples_only(bench: Any, write: Write) -> None:
    one, two = (
        _sha256(bench.build(write(EACH), workers=workers, verify=False, max_examples=150))
        for workers in (1, 2)
    )
    assert one == two


def test_a_key_that_comes_here_and_there_is_told(bench: Any, write: Write) -> None:
    body = EACH + "yield 5, {'image': image(200), 'n': 200}\n"
    with pytest.raises(DsmanagerError, match=r"duplicate key 5: two examples have it"):
        bench.build(write(body), workers=2, verify=False)
    assert bench.leftovers == []


@pytest.mark.parametrize("workers", [1, 2])
def test_what_cannot_be_encoded_is_told_as_in_one_process(
    bench: Any, write: Write, workers: int
) -> None:
    """The generator would go on for ever."""
    body = """
    import itertools
    for n in itertools.count():
        yield n, {'image': image(n), 'label': 2 if n == 200 else 1}
    """
    expected = r"the builder failed: ValueError: Failed to encode the example 200: .*label"
    with pytest.raises(DsmanagerError, match=expected) as caught:
        bench.build(write(body, features=FEATURES["plain"]), workers=workers, verify=False)
    assert str(bench.log_path) in (caught.value.hint or "")
    assert "Traceback" in bench.log_path.read_text()
    assert bench.leftovers == []


@pytest.mark.parametrize("at", [100, COUNT - 1])
def test_a_killed_process_ends_the_build(bench: Any, write: Write, at: int) -> None:
    body = f"""
    for n in range({COUNT}):
        if n == {at}:
            os.kill(maker(), signal.SIGKILL)
        yield n, {{'image': image(n), 'n': n}}
    """
    with pytest.raises(DsmanagerError, match="a helper process was killed by SIGKILL"):
        bench.build(write(body), workers=2, verify=False)
    assert bench.leftovers == []


def test_a_process_that_a_handler_of_the_builder_ends_ends_the_build(
    bench: Any, write: Write
) -> None:
    top = "import sys, itertools\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit('handled'))\n"
    body = """
    for n in itertools.count():
        if n == 100:
            os.kill(maker(), signal.SIGTERM)
        yield n, {'image': image(n), 'n': n}
    """
    with pytest.raises(DsmanagerError, match="the builder failed: SystemExit: handled"):
        bench.build(write(body, more_top=top), workers=2, verify=False)
    assert bench.leftovers == []


def test_a_generator_that_fails_is_told(bench: Any, write: Write) -> None:
    with pytest.raises(DsmanagerError, match="OSError: disk gone"):
        bench.build(write(EACH + "raise OSError('disk gone')\n"), workers=2, verify=False)
    assert bench.leftovers == []


def test_a_fork_of_the_builder_sends_nothing(bench: Any, write: Write) -> None:
    body = EACH.replace("    yield", "    if n in (100, 200):\n        os.fork()\n    yield")
    one, two = (_sha256(bench.build(write(each), workers=2, verify=False)) for each in (EACH, body))
    assert one == two
    assert bench.log_path.read_text().count("came back from it, and was ended") == 2


def test_a_file_that_has_to_be_read_there_and_has_changed_has_all_made_once_more(
    bench: Any, write: Write, sources: Path
) -> None:
    """Beside one that is named, content that was read is looked up at once."""
    body = """
    for n in range(300):
        content = image(n)
        if n == 250:
            content = content[::-1][1:] + b'!'
        yield n, {'image': content, 'nested': {'image': SOURCES / '01', 'n': n}}
    """
    tree = bench.build(write(body, features=FEATURES["nested"]), workers=2, verify=False)
    assert f"{sources / '50'} does not hold what" in bench.log_path.read_text()
    assert _sha256(tree) == _sha256(
        bench.build(write(body, features=FEATURES["nested"]), workers=1, verify=False)
    )

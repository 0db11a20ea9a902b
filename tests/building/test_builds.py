"""What a build gives, refuses and leaves behind; every build here runs without TensorFlow."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dsmanager.building.run import describe
from dsmanager.built import BuiltDataset
from dsmanager.catalog.find import builders_at, find_builder
from dsmanager.errors import (
    DsmanagerError,
    NoSpaceError,
    NotFoundError,
    UsageError,
    VerificationError,
)
from dsmanager.progress import CancelToken
from dsmanager.records.tfrecord import read_records, scan
from dsmanager.refs import Ref

pytestmark = pytest.mark.usefixtures("no_tensorflow")
Write = Callable[..., Path]


def test_a_build_leaves_a_complete_version_folder_and_nothing_else(
    bench: Any, write_builder: Write
) -> None:
    home = write_builder(body="for i in range(20):\n    yield i, {'x': i}")
    tree = bench.build(home)
    built = BuiltDataset(Ref("sample", None, "1.0.0"), tree)
    built.require_complete()
    assert built.splits["train"].examples == 20
    assert built.dataset_info["moduleName"] == "user_builders.sample.sample"
    assert set(built.files) == {
        "dataset_info.json",
        "features.json",
        "provenance.json",
        "sample-train.tfrecord-00000-of-00001",
    }
    assert bench.leftovers == []
    assert sorted(path.name for path in home.iterdir()) == ["sample.py"]


def test_two_builds_in_different_places_are_equal(
    bench: Any, write_builder_in: Write, tmp_path: Path
) -> None:
    features = ", ".join(f"'feature_{i}': np.int64" for i in range(12))
    values = ", ".join(f"'feature_{i}': i * {i}" for i in range(12))
    options = {
        "features": f"{{{features}}}",
        "body": f"for i in range(50):\n    yield f'key {{i}}', {{{values}}}",
    }
    first = bench.build(write_builder_in(tmp_path / "here", **options))
    bench.folder = tmp_path / "an other pläce"
    second = bench.build(write_builder_in(tmp_path / "bücher und mehr", **options))
    assert {path.name: path.read_bytes() for path in first.iterdir()} == {
        path.name: path.read_bytes() for path in second.iterdir()
    }


def test_keys_in_order_are_kept_in_order_when_shuffling_is_off(
    bench: Any, write_builder: Write
) -> None:
    home = write_builder(body="for i in (3, -1, 2):\n    yield i, {'x': i}")
    code = (home / "sample.py").read_text()
    (home / "sample.py").write_text(
        code.replace("builder=self,", "builder=self, disable_shuffling=True,")
    )
    tree = bench.build(home)
    from tensorflow_datasets.proto import tf_example_pb2

    values = [
        tf_example_pb2.Example.FromString(record).features.feature["x"].int64_list.value[0]
        for record in read_records(tree / "sample-train.tfrecord-00000-of-00001")
    ]
    assert values == [-1, 2, 3]


def test_a_duplicate_key_is_named(bench: Any, write_builder: Write) -> None:
    home = write_builder(body="for k in 'ab', 'cd', 'ab':\n    yield k, {'x': 1}")
    with pytest.raises(DsmanagerError, match="split train: duplicate key 'ab'"):
        bench.build(home)
    assert bench.leftovers == []


def test_a_split_of_nothing_is_an_error(bench: Any, write_builder: Write) -> None:
    with pytest.raises(DsmanagerError, match="split train: no examples"):
        bench.build(write_builder(body="yield from ()"))


def test_a_builder_without_splits_is_an_error(bench: Any, write_builder: Write) -> None:
    with pytest.raises(DsmanagerError, match="made no splits"):
        bench.build(write_builder(splits="{}"))


def test_what_a_builder_raises_is_one_line_and_its_output_is_in_the_log(
    bench: Any, write_builder: Write
) -> None:
    body = "print('about to fail')\nyield 0, {'x': 1}\nraise KeyError('one\\ntwo')"
    with pytest.raises(DsmanagerError) as caught:
        bench.build(write_builder(body=body))
    assert caught.value.message == r"the builder failed: KeyError: 'one\ntwo'"
    assert caught.value.hint == f"see what it printed: less '{bench.log_path}'"
    log = bench.log_path.read_text()
    assert "about to fail" in log
    assert "Traceback" in log
    assert bench.leftovers == []


def test_an_example_that_does_not_fit_names_the_feature(bench: Any, write_builder: Write) -> None:
    with pytest.raises(DsmanagerError, match=r"ValueError.*'word'"):
        bench.build(write_builder(body="yield 0, {'x': 'word'}"))


def test_a_builder_that_asks_on_the_terminal_is_told_that_nobody_is_there(
    bench: Any, write_builder: Write
) -> None:
    with pytest.raises(DsmanagerError, match="nobody is there: go on"):
        bench.build(write_builder(body="yield 0, {'x': input('go on?')}"))


def test_a_builder_sees_no_credentials(
    bench: Any, write_builder: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (
        "AWS_SECRET_ACCESS_KEY",
        "AWS_PROFILE",
        "ARMORY_PRIVATE_S3_ID",
        "DSMANAGER_REMOTE",
    ):
        monkeypatch.setenv(name, "hidden")
    for name in ("HF_TOKEN", "MY_API_KEY", "DB_PASSWORD", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.setenv(name, "hidden")
    monkeypatch.setenv("HARMLESS", "seen")
    body = """
    import os
    print(sorted(name for name, value in os.environ.items() if value == 'hidden'))
    print(os.environ['HARMLESS'], os.environ['AWS_SHARED_CREDENTIALS_FILE'])
    yield 0, {'x': 1}
    """
    bench.build(write_builder(body=body))
    assert "[]\nseen /dev/null\n" in bench.log_path.read_text()


def test_stray_files_and_temporary_ones_go_with_the_stage(bench: Any, write_builder: Write) -> None:
    body = """
    import tempfile
    open('stray.txt', 'w').close()
    print(tempfile.mkdtemp())
    yield 0, {'x': 1}
    """
    before = set(os.listdir())
    bench.build(write_builder(body=body))
    assert set(os.listdir()) == before
    assert "/data/" in bench.log_path.read_text()


def test_lines_of_python_beside_the_builder_can_be_imported(
    bench: Any, write_builder: Write
) -> None:
    home = write_builder(
        top="from . import near\nimport beside", body="yield 0, {'x': near.X + beside.X}"
    )
    (home / "near.py").write_text("X = 1\n")
    (home / "beside.py").write_text("X = 2\n")
    bench.build(home)


def test_tfds_newer_form_is_built(bench: Any, tmp_path: Path) -> None:
    home = tmp_path / "newer"
    home.mkdir()
    (home / "README.md").write_text("Of the newer form.\n")
    (home / "newer_dataset_builder.py").write_text(
        "import tensorflow_datasets as tfds\n"
        "class Builder(tfds.core.GeneratorBasedBuilder):\n"
        "    VERSION = tfds.core.Version('2.0.0')\n"
        "    def _info(self):\n"
        "        return self.dataset_info_from_configs(\n"
        "            features=tfds.features.FeaturesDict({'t': tfds.features.Text()}))\n"
        "    def _split_generators(self, dl_manager):\n"
        "        return {'train': self._generate_examples()}\n"
        "    def _generate_examples(self):\n"
        "        yield 'a', {'t': 'ä'}\n"
    )
    tree = bench.build(home)
    info = json.loads((tree / "dataset_info.json").read_text())
    assert (info["name"], info["version"]) == ("newer", "2.0.0")
    assert info["description"] == "Of the newer form."


def test_a_shard_based_builder_is_built(bench: Any, tmp_path: Path) -> None:
    home = tmp_path / "parted"
    home.mkdir()
    (home / "parted.py").write_text(
        "import functools\n"
        "import numpy as np\n"
        "import tensorflow_datasets as tfds\n"
        "class Parted(tfds.core.ShardBasedBuilder):\n"
        "    VERSION = tfds.core.Version('1.0.0')\n"
        "    def _info(self):\n"
        "        return tfds.core.DatasetInfo(builder=self,\n"
        "            features=tfds.features.FeaturesDict({'x': np.int64}))\n"
        "    def _shard_iterators_per_split(self, dl_manager):\n"
        "        return {'train': [functools.partial(self._part, n) for n in (2, 3)]}\n"
        "    def _part(self, n):\n"
        "        for i in range(n):\n"
        "            yield i, {'x': i}\n"
    )
    tree = bench.build(home)
    assert [scan(tree / f"parted-train.tfrecord-0000{i}-of-00002") for i in (0, 1)] == [2, 3]


CONFIGS = """
BUILDER_CONFIGS = [
    tfds.core.BuilderConfig(name="big", version=tfds.core.Version("2.0.0")),
    tfds.core.BuilderConfig(name="tiny"),
]
DEFAULT_BUILDER_CONFIG_NAME = "tiny"
"""


def test_configs_are_described_and_built_apart(bench: Any, write_builder: Write) -> None:
    home = write_builder(extra=CONFIGS)
    description = describe(builders_at(home)[0], cancel=CancelToken())
    assert description.configs == ("big", "tiny")
    assert description.default_config == "tiny"
    assert str(description.ref()) == "sample/tiny:1.0.0"
    assert str(description.ref("big")) == "sample/big:2.0.0"
    assert bench.build(home, config="big").parts[-3:] == ("sample", "big", "2.0.0")
    with pytest.raises(NotFoundError, match=r"no config 'tinny'; it has tiny"):
        bench.build(home, config="tinny")


def test_describe_says_what_the_builder_says(write_builder: Write) -> None:
    home = write_builder()
    first = describe(builders_at(home)[0], cancel=CancelToken())
    assert (first.name, first.version, first.configs) == ("sample", "1.0.0", ())
    assert first.description == "A sample."
    (home / "sample.py").write_text((home / "sample.py").read_text() + "\n# changed\n")
    assert describe(builders_at(home)[0], cancel=CancelToken()).code_sha256 != first.code_sha256


def test_a_feature_from_elsewhere_is_refused_before_anything_is_built(
    bench: Any, write_builder: Write
) -> None:
    top = "class Mine(tfds.features.Text):\n    pass\n"
    home = write_builder(top=top, features="{'x': Mine()}", body="yield 0, {'x': 'a'}")
    with pytest.raises(DsmanagerError, match=r"could not be loaded.*Mine"):
        bench.build(home)


def test_two_builders_in_one_file_are_refused(bench: Any, write_builder: Write) -> None:
    home = write_builder()
    code = (home / "sample.py").read_text()
    second = code[code.index("class Sample") :].replace("class Sample", "class Sample2")
    (home / "sample.py").write_text(code + second)
    with pytest.raises(UsageError, match=r"exactly one concrete builder class.*Sample, Sample2"):
        bench.build(home)


def test_a_builder_that_needs_tensorflow_says_how_to_get_it(
    bench: Any, write_builder: Write, no_tensorflow: Path
) -> None:
    (no_tensorflow / "tensorflow" / "__init__.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'tensorflow'\", name='tensorflow')\n"
    )
    with pytest.raises(DsmanagerError) as caught:
        bench.build(write_builder(top="import tensorflow"))
    assert caught.value.hint == "install what the builder needs: pip install 'dsmanager[tf]'"


def test_a_record_that_changes_on_disk_is_found_by_the_check_after_the_build(
    bench: Any, write_builder: Write
) -> None:
    extra = """
def _post_download_and_prepare_hook(self):
    path = self.data_path / 'sample-train.tfrecord-00000-of-00001'
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
"""
    home = write_builder(extra=extra)
    with pytest.raises(VerificationError, match="CRC of a record"):
        bench.build(home)
    bench.build(home, verify=False)


ODDITIES = {
    "prints": ("print('x' * 1000)", None),
    "forks": (
        "import os\n    pid = os.fork()\n    pid or os._exit(0)\n    os.waitpid(pid, 0)",
        None,
    ),
    "reads a secret": ("import os\n    os.environ['AWS_SECRET_ACCESS_KEY']", "KeyError: 'AWS_SECR"),
    "asks": ("input('?')", "asks for an answer"),
    "wrong shape": ("yield 'odd', {'x': np.zeros(3, np.int64)}", "Shape .3,. does not match"),
    "wrong type": ("yield 'odd', {'x': 'word'}", "ValueError.*'word'"),
    "wrong names": ("yield 'odd', {'y': 1}", "KeyError"),
    "duplicate": ("yield 4999, {'x': 1}", "duplicate key 4999: two examples"),
    "alike": ("yield '4999', {'x': 1}", "duplicate key (4999 and '4999'|'4999' and 4999) are one"),
}


@pytest.mark.parametrize("what", ODDITIES)
def test_oddities_after_five_thousand_examples_are_told_or_harmless(
    bench: Any, write_builder: Write, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    code, problem = ODDITIES[what]
    body = f"for i in range(5001):\n    yield i, {{'x': i}}\nif i == 5000:\n    {code}"
    home = write_builder(body=body)
    if problem is None:
        bench.build(home)
    else:
        with pytest.raises(DsmanagerError, match=problem) as caught:
            bench.build(home)
        assert "hidden" not in f"{caught.value.message} {bench.log_path.read_text()}"
    assert bench.leftovers == []


def test_a_disk_without_room_is_told_before_the_shards_are_written(
    bench: Any, write_builder: Write
) -> None:
    top = """
import collections, shutil
from dsmanager import files
files.shutil = type("Full", (), {
    "disk_usage": staticmethod(lambda _: collections.namedtuple("U", "free")(5))})
"""
    with pytest.raises(NoSpaceError, match=r"split train needs .* bytes"):
        bench.build(write_builder(top=top))


def test_mnist_of_tfds_is_built_by_name(
    bench: Any, mnist: tuple[Path, Path], no_tensorflow: Path
) -> None:
    """TFDS's own code, from a copy of its package whose checksums fit the files made here."""
    manual, package = mnist
    (no_tensorflow / "tensorflow_datasets").symlink_to(package / "tensorflow_datasets")
    tree = bench.build("tfds:mnist", manual_dir=manual, max_examples=3000)
    built = BuiltDataset(Ref("mnist", None, "3.0.1"), tree)
    assert {name: split.examples for name, split in built.splits.items()} == {
        "train": 3000,
        "test": 3000,
    }
    assert len(built.provenance["sources"]) == 4
    assert find_builder("tfds:mnist").origin == "tfds"

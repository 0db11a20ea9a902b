"""Builders that fork, ask, or want TensorFlow: a harmless run, or an error that says what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dsmanager.errors import DsmanagerError
from dsmanager.records.example import parse_example
from dsmanager.records.tfrecord import read_records

Write = Callable[..., Path]
COMES_BACK = "a process that the builder forked came back from it, and was ended"


def _values(tree: Path) -> list[int]:
    path = tree / "sample-train.tfrecord-00000-of-00001"
    return sorted(parse_example(record)["x"][0] for record in read_records(path))


def test_a_process_that_is_forked_and_comes_back_does_not_build_too(
    bench: Any, write_builder: Write, no_tensorflow: Path
) -> None:
    """Forked when the file is read, for the splits, between two examples, and after the last."""
    body = """
    for i in range(60):
        if i == 20:
            os.fork()
        yield i, {'x': i}
    os.fork()
    """
    splits = "{'train': self._generate_examples(os.fork() and dl_manager)}"
    tree = bench.build(write_builder(top="import os\nos.fork()", body=body, splits=splits))
    assert _values(tree) == list(range(60))
    assert bench.log_path.read_text().count(COMES_BACK) == 4
    assert bench.leftovers == []


def test_a_forked_process_that_fails_takes_nothing_away(
    bench: Any, write_builder: Write, no_tensorflow: Path
) -> None:
    body = """
    import os
    for i in range(60):
        if i == 20:
            child = os.fork()
            if not child:
                raise RuntimeError('in the fork')
            os.waitpid(child, 0)
        yield i, {'x': i}
    """
    assert _values(bench.build(write_builder(body=body))) == list(range(60))


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_a_pool_of_processes_is_harmless(
    bench: Any, write_builder: Write, no_tensorflow: Path, start: str
) -> None:
    body = f"""
    import multiprocessing
    with multiprocessing.get_context('{start}').Pool(2) as pool:
        for i, x in enumerate(pool.map(abs, range(-30, 0))):
            yield i, {{'x': x}}
    """
    assert _values(bench.build(write_builder(body=body))) == list(range(1, 31))
    assert bench.leftovers == []


def test_a_builder_that_takes_in_all_processes_that_end_is_harmless(
    bench: Any, write_builder: Write, no_tensorflow: Path
) -> None:
    top = "import signal\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)"
    body = "for i in range(60):\n    yield i, {'x': i}"
    tree = bench.build(write_builder(top=top, body=body), workers=2)
    assert _values(tree) == list(range(60))


REFUSED = {
    "asks for a password": ("import getpass; getpass.getpass('key? ')\nyield", "there: key"),
    "yields no pairs": ("yield {'x': 1}", r"yields \(key, example\), not dict"),
    "has odd keys": ("yield 1.5, {'x': 1}", r"Invalid key type: 1\.5"),
    "fails at 5,000": (
        "for i in range(6000):\n    if i == 5000:\n        raise OSError('disk gone')\n"
        "    yield i, {'x': i}",
        "OSError: disk gone",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_built_is_told_and_leaves_nothing(
    bench: Any, write_builder: Write, no_tensorflow: Path, what: str
) -> None:
    body, text = REFUSED[what]
    with pytest.raises(DsmanagerError, match=text) as caught:
        bench.build(write_builder(body=body))
    assert str(bench.log_path) in (caught.value.hint or "")
    assert bench.leftovers == []


@pytest.fixture
def broken_tensorflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One file named ``tensorflow.py``, first on the path, that raises when it is imported."""
    folder = tmp_path / "first on the path"
    folder.mkdir()
    (folder / "tensorflow.py").write_text("raise ImportError('this is not TensorFlow')\n")
    monkeypatch.setenv("PYTHONPATH", str(folder))


def test_a_module_named_tensorflow_that_raises_changes_nothing(
    bench: Any, write_builder: Write, broken_tensorflow: None
) -> None:
    features = """{
        'x': np.int64, 'image': tfds.features.Image(), 'sound': tfds.features.Audio(),
        'list': tfds.features.Sequence({'box': tfds.features.BBoxFeature()}),
    }"""
    body = """
    for i in range(5):
        yield i, {
            'x': i, 'image': np.zeros((3, 4, 3), np.uint8), 'sound': np.arange(i),
            'list': [{'box': tfds.features.BBox(0.0, 0.0, 1.0, 1.0)}],
        }
    """
    assert _values(bench.build(write_builder(features=features, body=body))) == list(range(5))
    assert "this is not TensorFlow" not in bench.log_path.read_text()


@pytest.mark.parametrize(
    "use",
    [
        "import tensorflow as tf",
        "from tensorflow_datasets.core.utils.lazy_imports_utils import tensorflow as tf\n"
        "tf.constant(1)",
    ],
)
@pytest.mark.parametrize(
    "error",
    ["ImportError('broken')", "ModuleNotFoundError(\"No module 'tensorflow'\", name='tensorflow')"],
)
def test_a_builder_that_uses_tensorflow_is_told_the_extra(
    bench: Any, write_builder: Write, no_tensorflow: Path, use: str, error: str
) -> None:
    (no_tensorflow / "tensorflow" / "__init__.py").write_text(f"raise {error}\n")
    with pytest.raises(DsmanagerError) as caught:
        bench.build(write_builder(body=f"{use}\nyield 0, {{'x': 1}}"))
    assert caught.value.hint == "install what the builder needs: pip install 'dsmanager[tf]'"


def test_another_package_that_is_missing_is_named_as_it_is_installed(
    bench: Any, write_builder: Write, no_tensorflow: Path
) -> None:
    (no_tensorflow / "cv2.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'cv2'\", name='cv2')\n"
    )
    with pytest.raises(DsmanagerError) as caught:
        bench.build(write_builder(top="import cv2"))
    assert caught.value.hint == "install what the builder needs: pip install opencv-python-headless"
    with pytest.raises(DsmanagerError) as caught:
        bench.build(write_builder(top="from .nowhere import x"))
    assert "pip install" not in (caught.value.hint or "")

"""Builders with a Beam pipeline: the bytes of TFDS, options that reach it, and never a question."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dsmanager.building.beam import require_beam_options
from dsmanager.errors import DsmanagerError, UsageError

Write = Callable[..., Path]

HAS_BEAM = importlib.util.find_spec("apache_beam") is not None
with_beam = pytest.mark.skipif(not HAS_BEAM, reason="apache-beam is not installed")

# In place of TFDS's guess of the size of what it builds: it asks whether to go on.
VAST = """
from tensorflow_datasets.core import split_builder
split_builder.psutil.virtual_memory = lambda: __import__("types").SimpleNamespace(total=-1)
"""
PIPELINE = """
beam = tfds.core.lazy_imports.apache_beam

def example(number):
    return f"key {number}", {"x": number, "image": np.full((8, 8, 3), number, np.uint8)}

return beam.Create(range(200)) | beam.Map(example)
"""
FEATURES = "{'x': np.int64, 'image': tfds.features.Image(shape=(8, 8, 3))}"
REFERENCE = """
import importlib, pathlib, sys
import tensorflow_datasets as tfds
from tensorflow_datasets.core import example_serializer
from apache_beam.options.pipeline_options import PipelineOptions
example_serializer.ExampleSerializer.serialize_example = (
    lambda self, example: self.get_tf_example(example).SerializeToString(deterministic=True))
home, data_dir = map(pathlib.Path, sys.argv[1:])
sys.path.insert(0, str(home.parent))
with tfds.core.registered.skip_registration():
    module = importlib.import_module(f"{home.name}.{home.name}")
module.Flowing(data_dir=data_dir).download_and_prepare(download_config=
    tfds.download.DownloadConfig(beam_options=PipelineOptions(flags=[])))
"""


@with_beam
def test_a_pipeline_gives_the_shards_of_tfds(
    bench: Any, write_builder: Write, tmp_path: Path
) -> None:
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip("TensorFlow is not installed")
    home = write_builder("flowing", body=PIPELINE, features=FEATURES)
    subprocess.run([sys.executable, "-c", REFERENCE, str(home), str(tmp_path)], check=True)
    tree = bench.build(home, beam_options=["runner=DirectRunner", "direct_num_workers=1"])
    theirs = sorted((tmp_path / "flowing" / "1.0.0").glob("*.tfrecord-*"))
    assert theirs
    for shard in theirs:
        assert (tree / shard.name).read_bytes() == shard.read_bytes()


@with_beam
def test_options_reach_the_pipeline_and_nothing_is_asked(bench: Any, write_builder: Write) -> None:
    home = write_builder("flowing", body=PIPELINE, features=FEATURES, top=VAST)
    with pytest.raises(DsmanagerError, match="NoSuchRunner"):
        bench.build(home, beam_options=["runner=NoSuchRunner"])
    tree = bench.build(home)
    info = json.loads((tree / "dataset_info.json").read_text())
    assert [split["shardLengths"] for split in info["splits"]] == [["200"]]
    with pytest.raises(UsageError, match="makes all examples of a split"):
        bench.build(home, max_examples=3)


@pytest.mark.skipif(HAS_BEAM, reason="apache-beam is installed")
@pytest.mark.parametrize("top", ["", "import apache_beam"])
def test_without_beam_the_extra_is_named(bench: Any, write_builder: Write, top: str) -> None:
    home = write_builder("flowing", body=PIPELINE, features=FEATURES, top=top)
    with pytest.raises(DsmanagerError, match="apache_beam") as raised:
        bench.build(home)
    assert "pip install 'dsmanager[beam]'" in str(raised.value.hint)


def test_options_without_a_pipeline_are_refused(bench: Any, write_builder: Write) -> None:
    with pytest.raises(UsageError, match="uses no Beam"):
        bench.build(write_builder(), beam_options=["runner=DirectRunner"])
    for option in ("--runner=x", "", "=x", "a b=c"):
        with pytest.raises(UsageError, match="no option of a Beam pipeline"):
            require_beam_options([option])
    require_beam_options(["runner=DirectRunner", "save_main_session", "temp_location=a=b c"])

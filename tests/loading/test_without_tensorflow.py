"""Audio and video features are described without TensorFlow, and as TFDS describes them."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable

import pytest

DESCRIBE = """
import numpy as np
import tensorflow_datasets as tfds
f = tfds.features
made = [
    f.Audio(), f.Audio(shape=(None, 2), dtype=np.int16, sample_rate=8000),
    f.Audio(file_format="wav", lazy_decode=True),
    f.Video(shape=(None, 4, 4, 3)), f.Video(shape=(2, 4, 4, 1), dtype=np.uint16),
]
for feature in made:
    print(feature, feature.to_json(), feature.to_proto(), repr(feature.np_dtype), feature.shape)
    again = f.FeatureConnector.from_json(feature.to_json())
    print(again, f.FeatureConnector.from_proto(feature.to_proto()))
"""
INSTALL = """
from dsmanager.loading.without_tensorflow import install
install()
install()
"""


def output_of(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None, reason="TensorFlow is not installed"
)
def test_features_are_written_as_tfds_writes_them_with_tensorflow(
    without_tensorflow: Callable[[str], str],
) -> None:
    dtypes = "\nprint()\nfor feature in made: print(feature.dtype, feature.tf_dtype)\n"
    not_imported = "\nimport sys\nassert 'tensorflow' not in sys.modules\n"
    original = output_of(DESCRIBE + dtypes)
    assert "Video" in original
    assert output_of(INSTALL + DESCRIBE + not_imported + dtypes) == original
    described = original.partition("\n\n<")[0] + "\n"
    assert without_tensorflow(INSTALL + DESCRIBE) == described


def test_audio_is_serialized_as_the_tensor_it_is(
    without_tensorflow: Callable[[str], str],
) -> None:
    without_tensorflow(
        INSTALL
        + """
import numpy as np
import tensorflow_datasets as tfds
f = tfds.features
audio = f.FeaturesDict({"audio": f.Audio(sample_rate=8000)})
tensor = f.FeaturesDict({"audio": f.Tensor(shape=(None,), dtype=np.int64)})
example = {"audio": np.arange(-5, 5)}
assert audio.serialize_example(example) == tensor.serialize_example(example)
"""
    )

"""Every form that a builder's files have elsewhere is built where it lies, from ``--path``."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dsmanager.built import BuiltDataset
from dsmanager.catalog.find import builders_at
from dsmanager.refs import Ref

pytestmark = pytest.mark.usefixtures("no_tensorflow")
Write = Callable[..., Path]


@pytest.fixture
def armory(tmp_path: Path, write_builder_in: Write) -> Path:
    """Armory's tree, as a package: each builder imports its neighbours in another way."""
    root = tmp_path / "armory" / "datasets"
    body = "yield 0, {'x': X}"
    imports = {
        "standard/beside": "from .helper import X",
        "standard/deeper": "from .parts.helper import X",
        "standard/plain_import": "from helper import X",
        "adversarial/above": "from ..common import X",
        "adversarial/by_name": "from by_name.helper import X",
        "adversarial/by_package": "from armory.datasets.adversarial.by_package.helper import X",
    }
    for place, line in imports.items():
        home = write_builder_in(root / Path(place).parent, Path(place).name, top=line, body=body)
        (home / "parts").mkdir()
        for folder in (home, home / "parts"):
            (folder / "helper.py").write_text("X = 7\n")
            (folder / "__init__.py").touch()
    (root / "adversarial" / "common.py").write_text("X = 7\n")
    for folder in (root.parent, root, root / "standard", root / "adversarial"):
        (folder / "__init__.py").touch()
    (root / "adversarial" / "__init__.py").write_text("from . import nothing_like_this\n")
    return root


def test_armorys_tree_is_found_and_each_kind_of_import_in_it_works(
    bench: Any, armory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {"above", "beside", "by_name", "by_package", "deeper", "plain_import"}
    assert {source.name for source in builders_at(armory)} == names
    (armory / "adversarial" / "__init__.py").write_text("")
    monkeypatch.chdir(armory)
    for group in ("standard", "adversarial"):
        for source in builders_at(Path(group)):
            assert source.file is not None
            tree = bench.build(source.file)
            info = json.loads((tree / "dataset_info.json").read_text())
            assert info["moduleName"] == f"user_builders.{source.name}.{source.name}"


def test_the_package_around_is_not_run_unless_the_builder_wants_it(
    bench: Any, armory: Path
) -> None:
    bench.build(armory / "adversarial" / "above")


def test_a_link_to_a_builders_folder_is_as_good(
    bench: Any, write_builder: Write, tmp_path: Path
) -> None:
    home = write_builder(top="from .helper import X", body="yield 0, {'x': X}")
    (home / "helper.py").write_text("X = 7\n")
    link = tmp_path / "linked" / "sample"
    link.parent.mkdir()
    link.symlink_to(home)
    assert bench.build(link).parts[-2:] == ("sample", "1.0.0")


def test_what_tfds_new_makes_is_built_with_all_of_its_files(bench: Any, tmp_path: Path) -> None:
    from tensorflow_datasets.scripts.cli import new

    new.create_dataset_files("my_new", tmp_path, "standard")
    home = tmp_path / "my_new"
    builder = home / "my_new_dataset_builder.py"
    code = builder.read_text()
    code = code.replace(
        "dl_manager.download_and_extract('https://todo-data-url')",
        "__import__('pathlib').Path(__file__).parent / 'dummy_data'",
    )
    code = code.replace("for f in path.glob('*.jpeg'):", "for f in path.glob('*.png'):")
    builder.write_text(code)
    from dsmanager.building.writing.images import encode_png

    (home / "dummy_data" / "train_imgs").mkdir()
    import numpy as np

    image = encode_png(np.zeros((3, 4, 3), np.uint8))
    (home / "dummy_data" / "train_imgs" / "a.png").write_bytes(image)
    (home / "README.md").write_text("Of **many** words.\n")
    (home / "CITATIONS.bib").write_text("@article{one}\n")
    (home / "TAGS.txt").write_text(
        textwrap.dedent("""\
            // what it is about
            content.data-type.image # Contains image data.
        """)
    )
    tree = bench.build(home)
    built = BuiltDataset(Ref("my_new", None, "1.0.0"), tree)
    assert built.splits["train"].examples == 1
    assert built.provenance["description"] == "Of **many** words."
    assert built.provenance["citation"] == "@article{one}"
    assert built.dataset_info["moduleName"] == "user_builders.my_new.my_new_dataset_builder"

"""The recipe for several labels a picture: the lines of docs that write its tables, and its splits, on real data."""

import os
import re
from collections import Counter
from pathlib import Path

import pytest

from icebox.features import label_sets
from icebox.features.manifest.build import build
from icebox.pipeline.config import loader
from icebox.pipeline.stages import manifest as stage
from tests.conftest import PROJECT

SECTION = (PROJECT / "docs/recipes.md").read_text().split("## multi-label\n")[1].split("\n## ")[0]
SCENES, CELLS = re.findall(r"```python\n(.*?)```", SECTION, flags=re.DOTALL)


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder `data/raw` of links to the real pictures, in the working folder; tables are written beside the links."""
    if "ICEBOX_REAL_DATA" not in os.environ:
        pytest.skip("ICEBOX_REAL_DATA names no folder of real data")
    monkeypatch.chdir(tmp_path)
    for name in ("camvid", "bccd"):
        (tmp_path / "data/raw" / name).mkdir(parents=True)
        for part in (Path(os.environ["ICEBOX_REAL_DATA"]) / name).iterdir():
            (tmp_path / "data/raw" / name / part.name).symlink_to(part)
    return tmp_path / "data/raw"


@pytest.mark.real_data
def test_the_table_of_cells_has_a_set_for_each_picture(raw: Path):
    exec(CELLS, {})
    lines = (raw / "bccd/cells.csv").read_text().splitlines()
    assert len(lines) == 1 + 205 + 87
    assert Counter(line.split(",")[2] for line in lines)["Platelets|RBC|WBC"] == 154


@pytest.mark.real_data
def test_the_recipes_splits_have_each_class_near_its_share_and_no_block_twice(raw: Path):
    exec(SCENES, {})
    config = loader.load(PROJECT / "recipes/multi-label.yaml")
    dataset = stage.datasets.source(config, "scenes")
    pictures = {item.item_id: item for item in dataset.items()}
    dataset.read = lambda source: source  # what is drawn hangs on groups alone, and links are not followed
    rows = build(dataset, val=0.2, test=0.3, seed=0, stratify=True, task="multilabel")
    assert len(rows) == len(pictures) == 468
    groups = {name: {row.group for row in rows if row.split == name} for name in ("train", "val", "test")}
    assert sum(map(len, groups.values())) == len(set().union(*groups.values()))
    total = Counter(name for row in rows for name in label_sets.split(row.label))
    having = Counter((row.split, name) for row in rows for name in label_sets.split(row.label))
    for name, count in total.items():
        assert abs(having["test", name] / count - 0.3) < 0.1
        assert abs(having["val", name] / count - 0.2) < 0.1

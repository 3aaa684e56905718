"""Fuzz targets: the files that Icebox writes itself. The project is this one, with the results that git keeps."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from icebox.features.abc.backbone import SETTINGS_FILE
from icebox.features.extraction import precision
from icebox.features.manifest import manifest, tables
from icebox.features.manifest.manifest import ManifestRow
from icebox.pipeline.catalog import backbones
from icebox.pipeline.comparison import formats, leaderboard
from icebox.pipeline.config import loader
from icebox.pipeline.evaluation import prediction_file
from icebox.pipeline.exploration import results as maps
from icebox.pipeline.project import paths, raw_data
from icebox.pipeline.report import findings, sections, training_section
from icebox.pipeline.training import curves
from tests.conftest import PROJECT
from tests.fuzz.target import Target

STORE = "digits-pixels"
CLASSES = ["a", "b", "ä"]
KEY = "0123456789abcdef" * 4


class Project(Target):
    """A file of this project's default run, and the leaderboard and the report's data over it."""

    share = 0.2

    def __init__(self, name: str, file: Path) -> None:
        self.name, self.file = name, file

    def prepare(self, folder: Path) -> None:
        shutil.copy(PROJECT / paths.PARAMS, folder)
        shutil.copytree(PROJECT / "results", folder / "results")

    def samples(self) -> list[tuple[Path, bytes]]:
        return [(self.file, (PROJECT / self.file).read_bytes())]

    def read(self, path: Path) -> None:
        config = loader.load()
        formats.as_table(formats.records(config, [STORE]))
        [dataset] = [name for name in config.datasets if config.stores[STORE].dataset == name]
        entries = leaderboard.entries(config, [STORE])
        section = sections.collect_dataset(config, dataset, entries)
        for row in section.rows:
            assert row.anchor
            assert row.seeds
            assert row.search_rows is not None


class Manifest(Target):
    name = "manifest"

    def samples(self) -> list[tuple[Path, bytes]]:
        rows = [
            ManifestRow(
                item_id=f"i{i}", item_key=KEY, label=CLASSES[i % 3], split=("train", "val", "test", "test-far")[i % 4],
                group="", source=f'a "text",\r\nof lines {i}', slices={"genre": "x"} if i % 2 else {},
            )
            for i in range(8)
        ]  # fmt: skip
        path, older = Path("manifest.parquet"), Path("older.csv")
        manifest.write(path, rows)
        table = manifest.Manifest.of(rows).table
        tables.write_csv(
            older, {name: table.column(name).to_pylist() for name in table.column_names} | {"item_key": [KEY] * 8}
        )
        return [(path, path.read_bytes()), (older, older.read_bytes())]

    def read(self, path: Path) -> None:
        manifest.read(path)


class Predictions(Target):
    name = "predictions"

    def samples(self) -> list[tuple[Path, bytes]]:
        columns: dict[str, Any] = {
            "item_id": [f"i{i}" for i in range(9)],
            "split": ["val", "test", "test"] * 3,
            "label": CLASSES * 3,
            "prediction": CLASSES[::-1] * 3,
            **{f"p_{name}": np.linspace(0, 1, 9, dtype=np.float32) for name in CLASSES},
        }
        path = Path("predictions.parquet")
        pq.write_table(pa.table(columns), path)
        return [(path, path.read_bytes())]

    def read(self, path: Path) -> None:
        prediction_file.read(path)


class FeatureMap(Target):
    name = "map"

    def samples(self) -> list[tuple[Path, bytes]]:
        suspect = {"item_id": "a", "split": "test", "label": "x", "suggested": "y", "confidence": 0.9, "of_label": 0.1}
        document = {
            "store": "s",
            "map": {"item_ids": ["a", "b"], "tsne": [[0, 999], [10, 20]], "pca": [[1, 2], [3, 4]]},
            "nearest": {"a": [["t", 0.93], ["u", 0.5]], "b": [["t", 1.0]]},
            "suspects": [suspect],
            "suspected": 1,
            "judged": 40,
            "agreement": 0.95,
        }
        return [(paths.feature_map("s"), json.dumps(document).encode())]

    def read(self, path: Path) -> None:
        maps.read("s")


class Findings(Target):
    name = "findings"

    def samples(self) -> list[tuple[Path, bytes]]:
        item = {"item_id": "a", "split": "train", "label": "x"}
        finding = {"kind": "k", "says": "s", "count": 1, "items": 2, "dropped": {"train": 1}, "first": [[item, item]]}
        return [(paths.findings("d"), json.dumps([finding, finding], indent=2).encode())]

    def read(self, path: Path) -> None:
        findings.read("d")


class LearningCurve(Target):
    name = "curve"

    def samples(self) -> list[tuple[Path, bytes]]:
        latest = paths.curve("n") / curves.LATEST
        curve = curves.Curve(paths.curve("n"))
        for step in range(6):
            curve.add(step, {"train/loss": 1 / (step + 1), "val/accuracy": step / 7})
        table = paths.curve("n") / curves.TABLES / "train" / "loss.tsv"
        scores = paths.backbone("n") / "metrics.json"
        return [(table, table.read_bytes()), (scores, latest.read_bytes())]

    def read(self, path: Path) -> None:
        training_section.read_network("n", "step")


class BackboneSettings(Target):
    name = "backbone.json"
    families = {  # noqa: RUF012
        "pixels": {"size": 4, "grey": True},
        "hashing": {"dimensions": 16},
        "steps": {"steps": 3, "width": 2, "keep": "first"},
        "glyphnet": {"width": 4},
    }

    def prepare(self, folder: Path) -> None:
        made = PROJECT / "tests/fixtures/written_by_0.1/data/backbones/glyphnet"
        shutil.copytree(made, folder / paths.backbone("glyphnet"))

    def samples(self) -> list[tuple[Path, bytes]]:
        return [
            (paths.backbone(name) / SETTINGS_FILE, json.dumps({"family": name, **settings}, indent=2).encode())
            for name, settings in self.families.items()
        ]

    def read(self, path: Path) -> None:
        family = path.parent.name
        backbone = backbones.load(family, family, None, precision="float32")
        content = {"image": np.zeros((5, 4, 3), np.uint8), "text": "a b", "sequence": np.zeros((2, 2), np.float32)}
        if family != "steps":  # its width is the dataset's to have
            backbone.encode([backbone.prepare(content[backbone.modality])])


class PrecisionRecord(Target):
    name = "precision"

    def samples(self) -> list[tuple[Path, bytes]]:
        precision.record_precision({"family": "x"}, "bfloat16", paths.PRECISIONS)
        path = precision.record_path({"family": "x"}, paths.PRECISIONS)
        return [(path, path.read_bytes())]

    def read(self, path: Path) -> None:
        precision.recorded_precision({"family": "x"}, paths.PRECISIONS)


class RawRecords(Target):
    name = "raw records"

    def samples(self) -> list[tuple[Path, bytes]]:
        raw = Path("raw.txt")
        raw.write_text("a")
        record = paths.raw_record("d")
        content = raw_data.content_of([raw], record=record)
        summary = json.dumps({"items": 1, "splits": {"train": 1}, "content": content, "stamp": "absent"}).encode()
        return [(record, record.read_bytes()), (paths.dataset_summary("d"), summary)]

    def read(self, path: Path) -> None:
        raw_data.stamp([Path("raw.txt")], record=paths.raw_record("d"), summary=paths.dataset_summary("d"))


TARGETS: list[Target] = [
    Project("metrics", paths.metrics(STORE, "mlp")),
    Project("details", paths.details(STORE, "mlp")),
    Manifest(),
    Predictions(),
    FeatureMap(),
    Findings(),
    LearningCurve(),
    BackboneSettings(),
    PrecisionRecord(),
    RawRecords(),
]

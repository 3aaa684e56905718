"""Fuzz targets: weights from elsewhere, checkpoints, stores, and the cards of bundles."""

import contextlib
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import safetensors.torch
import torch

from icebox.features.errors import IceboxError
from icebox.features.extraction.extract import extract
from icebox.features.joining.join import join
from icebox.features.joining.joined_store import JoinedStore
from icebox.features.store import index, shards, verification
from icebox.features.store.feature_store import FeatureStore
from icebox.features.weights import checkpoints
from icebox.pipeline.inference import bundle
from icebox.pipeline.project import paths
from icebox.pipeline.training.checkpoint import CheckpointFiles
from tests.conftest import PROJECT
from tests.fuzz.target import Target
from tests.tiny import Doubling, rows

TENSORS = {"conv.weight": torch.arange(24.0).reshape(2, 3, 4), "norm.num_batches_tracked": torch.tensor(3)}


def saved(content: object, *, legacy: bool = False) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=not legacy)
    return stream.getvalue()


class Weights(Target):
    name = "weights"
    share = 3.0

    def samples(self) -> list[tuple[Path, bytes]]:
        return [
            (Path("a.safetensors"), safetensors.torch.save(TENSORS)),
            (Path("a.pth"), saved({"state_dict": TENSORS})),
            (Path("b.pth"), saved(TENSORS, legacy=True)),
        ]

    def read(self, path: Path) -> None:
        checkpoints.read_tensors(path)


class TrainingCheckpoint(Target):
    name = "checkpoint"

    def samples(self) -> list[tuple[Path, bytes]]:
        CheckpointFiles(Path("checkpoint.pt")).save(3, {"parts": TENSORS, "losses": [0.5]})
        [path] = Path().glob("checkpoint-*.pt")
        return [(path, path.read_bytes())]

    def read(self, path: Path) -> None:
        CheckpointFiles(Path("checkpoint.pt")).restore(lambda state: state["parts"]["conv.weight"].sum())


class Store(Target):
    """A store's index and shards: opened, read and verified."""

    name = "store"

    def prepare(self, folder: Path) -> None:
        with contextlib.chdir(folder):
            extract(
                rows(*"0123456"), read=lambda source: source, backbone=Doubling(), cache_root=Path("cache"),
                store=Path("stores/s"), shard_rows=3,
            )  # fmt: skip
            for path in Path("stores/s").iterdir():  # a shard is read-only, and linked to the cache
                content = path.read_bytes()
                path.unlink()
                path.write_bytes(content)

    def samples(self) -> list[tuple[Path, bytes]]:
        return [(path, path.read_bytes()) for path in sorted(Path("stores/s").iterdir())]

    def read(self, path: Path) -> None:
        if path.name != index.FILE:
            with contextlib.suppress(IceboxError):
                shards.read(path)
        damages = verification.verify_store(Path("stores/s"))
        store = FeatureStore(Path("stores/s"))
        features = store.rows(np.arange(len(store)), store.outputs[0])
        # a shard's damage is for `verify` to find, once and for all; an index is checked when it is opened
        if not damages:
            assert np.array_equal(features[:, 0], np.arange(7)), "other features, and nothing noticed"


class Joined(Target):
    """What a joined store says of its members: opened and read."""

    name = "joined store"

    def prepare(self, folder: Path) -> None:
        with contextlib.chdir(folder):
            for name, order in (("a", "0123456"), ("b", "6543210")):
                manifest = sorted(rows(*order), key=lambda row: row.source, reverse=name == "b")
                manifest = [replace(row, item_id=row.source, label="") for row in manifest]
                extract(
                    manifest, read=lambda source: source, backbone=Doubling(), cache_root=Path("cache"),
                    store=Path("stores") / name,
                )  # fmt: skip
            join(Path("stores/j"), {name: Path("stores") / name for name in ("a", "b")})

    def samples(self) -> list[tuple[Path, bytes]]:
        return [(path, path.read_bytes()) for path in Path("stores/j").iterdir()]

    def read(self, path: Path) -> None:
        features = JoinedStore(Path("stores/j")).load(outputs=["a/last", "b/last"])
        expected = np.arange(7)[:, None] * [1, 2, 1, 2]
        assert np.array_equal(features, expected), "other features, and nothing noticed"


class Card(Target):
    """The card of a bundle that is not opened, since its sha256 is not the bundle's."""

    name = "card"

    def prepare(self, folder: Path) -> None:
        target = folder / paths.bundle("s", "h")
        target.parent.mkdir(parents=True)
        target.write_bytes(b"not what the card says")

    def samples(self) -> list[tuple[Path, bytes]]:
        return [(paths.card("s", "h"), (PROJECT / "results/heads/digits-pixels/mlp.json").read_bytes())]

    def read(self, path: Path) -> None:
        with contextlib.suppress(IceboxError):
            bundle.load(paths.bundle("s", "h"))
            raise AssertionError("opened")


TARGETS: list[Target] = [Weights(), TrainingCheckpoint(), Store(), Joined(), Card()]

"""The bundle of a head: the fitted head and all that predict needs, with a card that is read without opening it.

joblib is pickle, and opening a pickle runs what is in it: a bundle is opened only when its sha256 is the card's.
"""

import json
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import joblib

from icebox.features import files, fingerprint, plugins
from icebox.features.errors import IceboxError
from icebox.features.extraction.precision import Precision, Stored
from icebox.features.extraction.views import IDENTITY
from icebox.features.manifest.validation import Task
from icebox.features.store.feature_store import FeatureStore
from icebox.pipeline.catalog import datasets
from icebox.pipeline.config.schema import Config
from icebox.pipeline.data.feature_selection import FeatureSelection
from icebox.pipeline.project import paths

FORMAT = 2  # of the card and of what is pickled beside it: raised when the classes inside have moved or changed
LIBRARIES = ("scikit-learn", "lightgbm", "torch", "numpy")


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A fitted head (a classifier over class numbers, or a regressor and no classes) and where its features come from.

    The backbone is loaded with `outputs`, those of the store, and further `options`. The head takes `head_outputs` of
    these (all where that is empty), side by side, in `view`. `pairs`: whether its items are pairs of texts. `clean`:
    the steps of features/text/cleaning.py by which its texts were cleaned.
    """

    head: Any
    task: Task = "classification"
    classes: list[str]
    store: str
    fingerprint: str
    backbone: str
    family: str
    outputs: list[str]
    precision: Precision
    stored: Stored
    options: dict[str, Any] = field(default_factory=dict)
    head_outputs: list[str] = field(default_factory=list)
    view: str = IDENTITY
    pairs: bool = False
    clean: list[str] = field(default_factory=list)


def for_store(
    config: Config,
    name: str,
    store: FeatureStore,
    head: Any,
    *,
    classes: list[str],
    selection: FeatureSelection,
) -> Bundle:
    """The bundle of a head that was fitted on a selection of features of the store called `name`."""
    entry = config.stores[name]
    return Bundle(
        head=head,
        task=config.task(name),
        classes=classes,
        store=name,
        fingerprint=store.fingerprint,
        backbone=entry.backbone,
        family=store.spec["family"],
        outputs=list(store.spec["outputs"]),
        precision=store.spec["precision"],
        stored=store.spec["stored"],
        options=entry.extract.options,
        head_outputs=list(selection.outputs),
        view=selection.views[0],
        pairs=datasets.source(config, entry.dataset).modality == "pair",
        clean=list(config.datasets[entry.dataset].parameters.get("clean", [])),
    )


def save(bundle: Bundle, *, store: str, head: str) -> None:
    """Write the bundle and its card, each whole or not at all."""
    path = paths.bundle(store, head)
    with files.replacing(path) as temporary:
        joblib.dump(bundle, temporary)
    card = {
        "format": FORMAT,
        "sha256": fingerprint.of_file(path),
        "store": bundle.store,
        "head": head,
        "task": bundle.task,
        "classes": bundle.classes,
        "backbone": {
            "name": bundle.backbone,
            "family": bundle.family,
            "outputs": bundle.outputs,
            "precision": bundle.precision,
            **bundle.options,
        },
        "sees": {"outputs": bundle.head_outputs or bundle.outputs, "view": bundle.view},
        "fingerprint": bundle.fingerprint,
        "libraries": {name: version(name) for name in LIBRARIES},
    }
    files.write_text(paths.card(store, head), json.dumps(card, indent=2) + "\n")


def load(path: Path, *, trust: bool = False) -> Bundle:
    """Open a bundle whose sha256 is the one on its card, or any at all with `trust`.

    Raises IceboxError for one that another version of Icebox wrote, whose classes are not to be found here.
    """
    if not path.exists():
        raise IceboxError(f"{path}: not found; run: dvc repro (or dvc pull)")
    if not trust:
        refuse_unrecorded(path)
    refuse_other_format(path)
    plugins.add_own("icebox.pipeline.heads")  # a head may be one of the project's own
    try:
        opened = joblib.load(path)
    except (ImportError, AttributeError) as reason:
        raise version_error(path, str(reason)) from reason
    if not isinstance(opened, Bundle):
        raise IceboxError(f"{path}: expected a bundle of this project, found {type(opened).__name__}")
    return opened


def refuse_other_format(path: Path) -> None:
    """Raise IceboxError where the card says that the bundle was written in another format than today's."""
    card = path.with_suffix(".json")
    written = json.loads(card.read_text()).get("format", 1) if card.exists() else FORMAT
    if written != FORMAT:
        raise version_error(path, f"format {written}, not {FORMAT}")


def version_error(path: Path, reason: str) -> IceboxError:
    """The error of a bundle whose classes are not the ones of this code."""
    return IceboxError(
        f"{path}: expected a bundle that this version of Icebox wrote, found one of another ({reason}); "
        f"fit it anew: dvc repro -f {stage_of(path)}"
    )


def stage_of(path: Path) -> str:
    """The stage of dvc.yaml that writes a bundle; a head that was unfrozen has one named after itself."""
    store, head = path.parent.name, path.stem
    return f"ensemble@{store}" if head == paths.ENSEMBLE else f"fit@{store}-{head} (or unfreeze@{head})"


def refuse_unrecorded(path: Path) -> None:
    """Raise IceboxError unless the file is the one that its card describes."""
    card = path.with_suffix(".json")
    if not card.exists():
        raise IceboxError(f"{path}: expected its card {card} beside it, found none; to open it all the same: --trust")
    recorded, actual = json.loads(card.read_text())["sha256"], fingerprint.of_file(path)
    if recorded != actual:
        raise IceboxError(
            f"{path}: expected sha256 {recorded} (from {card.name}), found {actual}; opening a bundle runs code in it, "
            "so it was left closed; if you know where it comes from: --trust"
        )

"""The bundle of a head: the fitted head and all that predict needs, with a card that is read without opening it.

joblib is pickle, and opening a pickle runs what is in it: a bundle is opened only when its sha256 is the card's.
"""

import hashlib
import io
import json
import pickle
import struct
import zlib
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import joblib

from icebox.features import files, fingerprint, plugins
from icebox.features.errors import IceboxError
from icebox.features.extraction import projection
from icebox.features.extraction.precision import Precision, Stored
from icebox.features.extraction.projection import Basis
from icebox.features.extraction.views import IDENTITY
from icebox.features.joining.joined_store import JoinedStore
from icebox.features.manifest.validation import Task
from icebox.features.store.feature_store import FeatureStore
from icebox.pipeline.catalog import datasets
from icebox.pipeline.config.schema import Config
from icebox.pipeline.data.feature_selection import FeatureSelection
from icebox.pipeline.evaluation import not_applicable
from icebox.pipeline.project import paths

FORMAT = 2  # of the card and of what is pickled beside it: raised when the classes inside have moved or changed
JOINED = "joined"  # in place of a family, of several backbones
LIBRARIES = ("scikit-learn", "lightgbm", "torch", "numpy")
DAMAGED = (  # errors of pickle, and of what it calls, at bytes that are no whole pickle
    pickle.UnpicklingError, EOFError, ValueError, LookupError, TypeError, ArithmeticError, OSError, MemoryError,
    RecursionError, struct.error, zlib.error,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A fitted head (a classifier over class numbers, or a regressor and no classes) and where its features come from.

    The backbone is loaded with `outputs`, those of the store, and further `options`; its maps are projected on the
    `basis`, where there is one. In int8 it runs by the network of the digest `quantized`, in the store's folder. The
    head takes `head_outputs` of these (all where that is empty), side by side, in `view`. `pairs`: whether its items
    are pairs of texts. `clean`: the steps of features/text/cleaning.py by which its texts were cleaned. `source` and
    `parameters` are those of the dataset in params.yaml, by which further items are read ("" and None in bundles that
    did not keep them yet). `members` of a joined store: bundles without a head, one for each part of the features;
    `backbone`, `outputs` and `fingerprint` are then those of the whole.
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
    basis: Basis | None = None
    quantized: str = ""
    head_outputs: list[str] = field(default_factory=list)
    view: str = IDENTITY
    pairs: bool = False
    clean: list[str] = field(default_factory=list)
    dataset: str = ""
    source: str = ""
    parameters: dict[str, Any] | None = None
    members: tuple["Bundle", ...] = ()


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
    if isinstance(store, JoinedStore):
        return for_joined(config, name, store, head, classes=classes, selection=selection)
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
        options=entry.options,
        quantized=store.spec.get("quantized", ""),
        basis=None if entry.pca is None else projection.read(store.folder / projection.FILE),
        head_outputs=list(selection.outputs),
        view=selection.views[0],
        pairs=datasets.source(config, entry.dataset).modality == "pair",
        clean=list(config.datasets[entry.dataset].parameters.get("clean", [])),
        dataset=entry.dataset,
        source=config.datasets[entry.dataset].family,
        parameters=config.datasets[entry.dataset].parameters,
    )


def for_joined(
    config: Config, name: str, store: JoinedStore, head: Any, *, classes: list[str], selection: FeatureSelection
) -> Bundle:
    """The bundle of a head that was fitted on a joined store: how each member's part of the features is made."""
    members = tuple(
        for_store(
            config,
            member,
            store.members[member],
            None,
            classes=[],
            selection=FeatureSelection(tuple(outputs), (store.view_of(member, selection.views[0]),)),
        )
        for member, outputs in store.outputs_by_member(selection.outputs)
    )
    first = members[0]
    return Bundle(
        head=head,
        task=config.task(name),
        classes=classes,
        store=name,
        fingerprint=store.fingerprint,
        backbone=config.backbone_name(name),
        family=JOINED,
        outputs=list(store.outputs),
        precision=first.precision,
        stored=first.stored,
        head_outputs=list(selection.outputs),
        view=selection.views[0],
        pairs=first.pairs,
        clean=first.clean,
        dataset=first.dataset,
        source=first.source,
        parameters=first.parameters,
        members=members,
    )


def save(bundle: Bundle, *, input_name: str, head: str) -> None:
    """Write the bundle and its card, each whole or not at all."""
    path = paths.bundle(input_name, head)
    with files.replacing(path) as temporary:
        joblib.dump(bundle, temporary)
    card = {
        "format": FORMAT,
        "sha256": fingerprint.of_file(path),
        "store": bundle.store,
        "input": input_name,
        "head": head,
        "task": bundle.task,
        "classes": bundle.classes,
        "backbone": backbone_card(bundle),
        **({"joined": [member_card(each) for each in bundle.members]} if bundle.members else {}),
        "sees": {"outputs": bundle.head_outputs or bundle.outputs, "view": bundle.view},
        "dataset": dataset_card(bundle),
        "fingerprint": bundle.fingerprint,
        "libraries": {name: version(name) for name in LIBRARIES},
    }
    files.write_text(paths.card(input_name, head), json.dumps(card, indent=2) + "\n")


def backbone_card(bundle: Bundle) -> dict[str, Any]:
    """The card's entry of the backbone."""
    return {
        "name": bundle.backbone,
        "family": bundle.family,
        "outputs": bundle.outputs,
        "precision": bundle.precision,
        **bundle.options,
    }


def dataset_card(bundle: Bundle) -> dict[str, Any]:
    """The card's entry of the dataset."""
    return {"name": bundle.dataset, "source": bundle.source, **(bundle.parameters or {})}


def member_card(bundle: Bundle) -> dict[str, Any]:
    """The card's entry of a joined store's member."""
    return {"store": bundle.store, "backbone": backbone_card(bundle), "dataset": dataset_card(bundle)}


def load(path: Path, *, trust: bool = False) -> Bundle:
    """Open a bundle whose sha256 is the one on its card, or any at all with `trust`.

    The file is read once: the bytes that are hashed are the bytes that are opened. Raises IceboxError for one that is
    missing, that its card does not record, or that another version of Icebox wrote, whose classes are not to be found.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise IceboxError(f"{path}: not found; run: dvc repro (or dvc pull)") from None
    except OSError as reason:
        raise IceboxError(f"{path}: can't be read: {reason.strerror}") from None
    if not trust:
        refuse_unrecorded(path, content)
    refuse_other_format(path, trust=trust)
    plugins.add_own("icebox.pipeline.heads")  # a head may be one of the project's own
    try:
        opened = joblib.load(io.BytesIO(content))
    except (ImportError, AttributeError) as reason:
        raise version_error(path, str(reason)) from reason
    except DAMAGED as reason:  # with `trust` only, since otherwise the bytes are those that were saved
        raise IceboxError(
            f"{path}: is no whole bundle ({reason}); fit it anew: dvc repro -f {stage_of(path)}"
        ) from None
    if not isinstance(opened, Bundle):
        raise IceboxError(f"{path}: expected a bundle of this project, found {type(opened).__name__}")
    return opened


def read_card(path: Path) -> dict[str, Any]:
    """The card of the bundle at `path`. Raises IceboxError for one that is missing or damaged."""
    card = path.with_suffix(".json")
    try:
        content = json.loads(card.read_text(encoding="utf-8"))
        if isinstance(content, dict) and isinstance(content.get("sha256"), str):
            return content
        reason = f"expected an object with a sha256, found {str(content)[:40]}"
    except FileNotFoundError:
        raise IceboxError(
            f"{path}: expected its card {card} beside it, found none; to open it all the same: --trust"
        ) from None
    except (OSError, ValueError, RecursionError) as error:  # a UnicodeDecodeError is a ValueError
        reason = str(error)
    raise IceboxError(
        f"{card}: the card is damaged ({reason}), so its bundle was left closed; "
        f"restore it (git checkout {card}), or fit anew: dvc repro -f {stage_of(path)}"
    )


def refuse_other_format(path: Path, *, trust: bool) -> None:
    """Raise IceboxError where the card says that the bundle holds no head, or one in another format than today's.

    With `trust`, a bundle is opened without its card, so one that is missing or damaged says nothing.
    """
    try:
        card = read_card(path)
    except IceboxError:
        if not trust:
            raise
        return
    if reason := card.get(not_applicable.KEY):
        raise IceboxError(f"{path}: there is no head in it, since its store can't have this one: {reason}")
    if (written := card.get("format", 1)) != FORMAT:
        raise version_error(path, f"format {written}, not {FORMAT}")


def version_error(path: Path, reason: str) -> IceboxError:
    """The error of a bundle whose classes are not the ones of this code."""
    return IceboxError(
        f"{path}: expected a bundle that this version of Icebox wrote, found one of another ({reason}); "
        f"fit it anew: dvc repro -f {stage_of(path)}"
    )


def stage_of(path: Path) -> str:
    """The stage of dvc.yaml that writes a bundle; a head that was unfrozen has one named after itself."""
    folder = paths.ENSEMBLES if path.is_relative_to(paths.ENSEMBLES) else paths.HEADS
    input_name = path.parent.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.parent.name
    stage = paths.fit_stage(input_name, path.stem)
    return stage if path.stem == paths.ENSEMBLE else f"{stage} (or unfreeze@{path.stem})"


def refuse_unrecorded(path: Path, content: bytes) -> None:
    """Raise IceboxError unless these bytes of a bundle are those that its card describes."""
    recorded, actual = read_card(path)["sha256"], hashlib.sha256(content).hexdigest()
    if recorded != actual:
        raise IceboxError(
            f"{path}: expected sha256 {recorded} (from {path.stem}.json), found {actual}; opening a bundle runs "
            "code in it, so it was left closed; if you know where it comes from: --trust"
        )

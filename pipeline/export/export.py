"""`icebox export`: a fitted head with its network, written as one folder, whole or not at all."""

import json
import logging
import shutil
import tempfile
from pathlib import Path
from typing import Any, Literal

import numpy as np

from icebox.features import files
from icebox.features.errors import IceboxError, located
from icebox.features.extraction.views import prepare
from icebox.pipeline.estimators.decision import OffsetHead, ThresholdHead
from icebox.pipeline.evaluation import conformal, prediction_file
from icebox.pipeline.evaluation.prediction_file import StoredPredictions
from icebox.pipeline.evaluation.predictions import PLAIN_THRESHOLD
from icebox.pipeline.export import card, check, onnx_file, pipeline_file, preprocess, torch_file
from icebox.pipeline.export.check import Checked
from icebox.pipeline.export.graph.network import network_for, refuse
from icebox.pipeline.exported import folder as exported
from icebox.pipeline.exported import reference
from icebox.pipeline.exported.folder import ExportFolder
from icebox.pipeline.exported.model import ExportedBackbone
from icebox.pipeline.exported.session import GraphSession
from icebox.pipeline.inference import predict
from icebox.pipeline.inference.predict import OpenHead
from icebox.pipeline.project import paths

Format = Literal["onnx", "sklearn", "torch"]
EXAMPLES = 4  # items by which the network is recorded
COVERAGE_ITEMS_MAX = 50_000  # of val, whose scores go along
VAL_SCORES = "val_scores.json"
SHOWN = 3  # files that are named

logger = logging.getLogger("icebox")


def export(name: str, to: Path, *, kind: Format = "onnx", trust: bool = False) -> None:
    """Write the head STORE/HEAD as the folder `to`, once it was found to answer as the head does.

    Replaces an earlier export there. Raises IceboxError for anything else in its place, for a head or network that has
    no such form, and for an export that answers otherwise.
    """
    refuse_to_replace(to)
    with located(f"export {name}"):
        head = predict.open_head(name, trust=trust)
        items = check.items_to_check(head.bundle)
    with files.temporary_in(to.absolute().parent) as temporary:
        temporary.mkdir()
        with located(f"export {name}"):
            write(head, items, temporary, kind=kind)
        publish(temporary, to)
    size = sum(file.stat().st_size for file in to.rglob("*") if file.is_file())
    logger.info("%s: %s, %.1f MB; %s has its card", to, kind, size / 1e6, to / exported.CARD)


def write(head: OpenHead, items: list[Any], folder: Path, *, kind: Format) -> None:
    """Write all files of an export and check what they answer."""
    config = config_of(head, kind)
    if scores := val_scores(head):
        (folder / VAL_SCORES).write_text(json.dumps(scores) + "\n", encoding="utf-8")
        config["coverage"] = VAL_SCORES
    checked = (write_pipeline if kind == "sklearn" else write_graph)(head, items, folder, config)
    logger.info("%s: %s", head.name, checked.sentence())
    config["check"] = checked.as_json() | config["check"]
    (folder / exported.CONFIG).write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / exported.CARD).write_text(card.text(head, config), encoding="utf-8")
    exported.write_manifest(folder)


def write_graph(head: OpenHead, items: list[Any], folder: Path, config: dict[str, Any]) -> Checked:
    """Write the network as one graph, of ONNX or of torch.export, and the code that prepares items for it."""
    backbone: Any = head.backbone
    steps = preprocess.steps_of(backbone)
    contents = [prepare(backbone, item.read(), head.bundle.view) for item in items[:EXAMPLES]]
    network = network_for(head.bundle, backbone, contents)
    is_torch = config["format"] == "torch"
    config["model"], config["network"]["precision"] = "model.pt2" if is_torch else "model.onnx", "float32"
    path = folder / config["model"]
    (torch_file if is_torch else onnx_file).write(network, path)
    preprocess.write_files(backbone, folder, clean=head.bundle.clean)
    shutil.copyfile(Path(reference.__file__).with_name("predict.py"), folder / "predict.py")
    config["input"]["names"], config["preprocess"] = list(network.names), steps
    config["scores"] = network.head.kind
    if is_torch:
        config["outputs"] = list(network.outputs)
        run = torch_file.TorchSession(path, network.names, network.outputs).run
    else:
        run = GraphSession(path).run
    exact = check.in_float32(head)
    checked = check.check(exact, ExportedBackbone(ExportFolder(folder, config), run), items)
    if exact is not head:
        config["check"] = {
            "precision": head.bundle.precision,
            "same_answers": check.same_answers(head, exact, items),
        }
    return checked


def write_pipeline(head: OpenHead, items: list[Any], folder: Path, config: dict[str, Any]) -> Checked:
    """Write the Pipeline of Encoder and head, and its network."""
    backbone: Any = head.backbone
    refuse(head.bundle, backbone)
    pipeline_file.refuse(head.bundle)
    prepared = [prepare(backbone, item.read(), head.bundle.view) for item in items[:EXAMPLES]]
    path = folder / "pipeline.skops"
    config["trusted"] = pipeline_file.write(head.bundle, prepared, backbone, path)
    config["model"] = path.name
    with tempfile.TemporaryDirectory() as cache:
        pipeline = pipeline_file.opened_pipeline(folder, path, Path(cache))
        return check.check_pipeline(head, pipeline, items)


def config_of(head: OpenHead, kind: Format) -> dict[str, Any]:
    """config.json: all that code needs to know of the model, and of what it was made. Formats add to it."""
    opened, backbone = head.bundle, head.backbone
    modality = "pair" if opened.pairs else getattr(backbone, "modality", None)  # of a list of networks none
    decided = opened.head if isinstance(opened.head, OffsetHead) else None
    has_probabilities = hasattr(opened.head, "predict_proba")
    thresholds = None
    if opened.task == "multilabel":
        plain = [PLAIN_THRESHOLD[has_probabilities]] * len(opened.classes)
        thresholds = np.asarray(opened.head.thresholds if isinstance(opened.head, ThresholdHead) else plain).tolist()
    details = card.details(head)
    return {
        exported.MARK: exported.VERSION,
        "name": head.name,
        "format": kind,
        "model": "",
        "task": opened.task,
        "classes": opened.classes,
        "scores": "value" if opened.task == "regression" else "probabilities" if has_probabilities else "scores",
        "input": {"kind": modality, "names": []},
        "preprocess": None,
        "thresholds": thresholds,
        "decide": None if decided is None else np.asarray(decided.offsets).tolist(),
        "calibrate": details.get("calibrate", "none"),
        "coverage": None,
        "check": {},
        "network": {
            "backbone": opened.backbone,
            "family": opened.family,
            "outputs": list(opened.head_outputs or opened.outputs),
            "precision": opened.precision,
            "stored": opened.stored,
            "fingerprint": opened.fingerprint,
        },
        "dataset": {
            "name": opened.dataset,
            "source": opened.source,
            "parameters": {key: value for key, value in (opened.parameters or {}).items() if key != "path"},
            "clean": opened.clean,
        },
    }


def val_scores(head: OpenHead) -> dict[str, list[float]]:
    """The scores that items of val have for their own class, by class: by these sets of classes are calibrated.

    None where there can't be such sets: without val, of a head that learned from it, of too many items.
    """
    path, details = paths.predictions(*head.place), card.details(head)
    if not path.exists() or details.get("refit", "train") != "train" or details.get("calibrate", "none") != "none":
        return {}
    stored = prediction_file.read(path)
    if not isinstance(stored, StoredPredictions) or not stored.classes or "val" not in stored.splits:
        return {}
    if len(stored.splits["val"].labels) > COVERAGE_ITEMS_MAX:
        return {}
    by_class = conformal.own_scores(stored)
    return {name: scores.tolist() for name, scores in zip(stored.classes, by_class, strict=True)}


def refuse_to_replace(to: Path) -> None:
    """Raise IceboxError where something lies at `to` that is no export, or one that holds more than was exported; an
    empty folder is nothing."""
    if (place := next(each for each in to.absolute().parents if files.exists(each))) and not place.is_dir():
        raise IceboxError(f"{to}: expected a folder at {place}, found a file; choose another name")
    if exported.is_export(to):
        if others := exported.files_of_others(to):
            shown = ", ".join(others[:SHOWN]) + (f" and {len(others) - SHOWN} more" if len(others) > SHOWN else "")
            raise IceboxError(
                f"{to}: expected an earlier export and nothing else, found {shown}, which would be lost; move it away, "
                "or choose another name"
            )
        return
    if not files.exists(to) or (to.is_dir() and not any(to.iterdir())):
        return
    raise IceboxError(
        f"{to}: expected nothing there, an empty folder or an earlier export, found something else; choose another "
        "name, or move it away"
    )


def publish(temporary: Path, to: Path) -> None:
    """Put the finished folder in its place, in which an earlier export may lie."""
    for file in temporary.rglob("*"):
        if file.is_file():
            files.flush(file)
    if not files.exists(to):
        temporary.rename(to)
        return
    with files.temporary_in(to.absolute().parent) as aside:
        to.rename(aside)
        try:
            temporary.rename(to)
        except OSError:
            aside.rename(to)
            raise
        shutil.rmtree(aside, ignore_errors=True)

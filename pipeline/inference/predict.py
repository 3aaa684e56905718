"""Predict new items with a saved head: through the bundle's backbone and head, a row an item."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from icebox.features import fingerprint
from icebox.features.abc.backbone import Backbone
from icebox.features.errors import IceboxError, located
from icebox.features.extraction import runtime
from icebox.features.extraction.extract import fingerprint_of
from icebox.features.extraction.projection import ProjectedBackbone
from icebox.features.json_files import read_json
from icebox.features.manifest.validation import DENSE_TASKS
from icebox.pipeline.catalog import backbones, quantized
from icebox.pipeline.config import plugin_schema
from icebox.pipeline.drift import sketch as sketches
from icebox.pipeline.evaluation import conformal, prediction_file, predictions
from icebox.pipeline.evaluation.conformal import SetPredictor
from icebox.pipeline.evaluation.predictions import Predictions
from icebox.pipeline.exported import folder as exported
from icebox.pipeline.exported import model as exported_model
from icebox.pipeline.exported.folder import ExportFolder, is_export
from icebox.pipeline.inference import alignment, bundle, output
from icebox.pipeline.inference.alignment import Adapt
from icebox.pipeline.inference.answer_rows import columns, rows
from icebox.pipeline.inference.bundle import Bundle
from icebox.pipeline.inference.item_features import Network, batches, parts_of
from icebox.pipeline.inference.origin import Newcomers
from icebox.pipeline.inference.reading.doubtful_items import EmptyTexts, OnError, Unread
from icebox.pipeline.inference.reading.joined_reading import JoinedReading
from icebox.pipeline.inference.reading.new_items import Batch, Reading
from icebox.pipeline.project import head_names, paths

logger = logging.getLogger("icebox")


@dataclass(frozen=True)
class OpenHead:
    """A head by its name, its bundle, the backbone that it was fitted on (of a joined store one for each member), and
    how further items are read for it."""

    name: str
    place: tuple[str, str]  # that `paths` takes: STORE or STORE/NAME, and HEAD
    bundle: Bundle
    backbone: Network
    reading: Reading | JoinedReading
    adapt: Adapt | None = None  # of a head that aligns: to what
    export: ExportFolder | None = None  # where the head was opened from one


def open_head(name: str, *, trust: bool = False, of_pictures: bool = False) -> OpenHead:
    """Open the head STORE/HEAD or STORE/NAME/HEAD, or the one in the folder of an export.

    Raises IceboxError where its bundle or backbone is missing, where the backbone has changed since, and for heads of
    masks and boxes unless `of_pictures`.
    """
    if is_export(Path(name)):
        return open_export(Path(name))
    input_name, head = head_names.find(name, head_names.on_disk())
    opened = bundle.load(paths.bundle(input_name, head), trust=trust)
    if opened.task in DENSE_TASKS and not of_pictures:
        raise IceboxError(
            f"predict {name}: new items have one answer each, and this is a head of {opened.task}; its answers for val "
            f"and test stand in {paths.predictions(input_name, head)}"
        )
    networks = []
    for part in parts_of(opened):
        backbone = backbones.load(part.backbone, part.family, part.outputs, precision=part.precision, **part.options)
        if part.quantized:
            with located(f"predict {name}"):
                backbone.use_quantized(quantized.find(part.store, part.quantized))
        if part.basis is not None:
            backbone = ProjectedBackbone(backbone, part.basis)
        # torch's features stand for those of any runtime, which was chosen for agreeing with it
        spec = {**backbone.spec, "stored": part.stored}
        specs = [spec] if part.quantized else runtime.in_every_runtime(spec)
        if part.fingerprint not in map(fingerprint_of, specs):
            raise IceboxError(
                f"predict {name}: the backbone in {paths.backbone(part.backbone)} is not the one this head was fitted "
                f"on (fingerprints differ); run: dvc repro {paths.fit_stage(input_name, head)}"
            )
        networks.append(backbone)
    readings = [reading_of(*pair) for pair in zip(parts_of(opened), networks, strict=True)]
    reading = JoinedReading.of(readings) if opened.members else readings[0]
    return OpenHead(name, (input_name, head), opened, networks if opened.members else networks[0], reading)


def open_export(path: Path) -> OpenHead:
    """Open the head in the folder of an export. Raises IceboxError for one that is not whole, or was changed."""
    export = exported.opened(path)
    config, dataset = export.config, export.config["dataset"]
    backbone = exported_model.open_backbone(export)
    opened = Bundle(
        head=exported_model.head_of(config),
        task=config["task"],
        classes=config["classes"],
        store=config["name"],
        fingerprint="",
        backbone=config["network"]["backbone"],
        family="export",
        outputs=list(backbone.outputs),
        precision="float32",
        stored="float32",
        pairs=config["input"]["kind"] == "pair",
        clean=dataset["clean"],
        dataset=dataset["name"],
        source=dataset["source"],
        parameters=dataset["parameters"],
    )
    place = (str(path), "export")  # under which a project has nothing
    return OpenHead(str(path), place, opened, backbone, reading_of(opened, backbone), export=export)


def open_for(
    name: str,
    inputs: Sequence[str],
    *,
    out: Path | None,
    safe: bool,
    trust: bool,
    source: str | None,
    settings: Sequence[str],
    adapt: Adapt | None = None,
    of_pictures: bool = False,
    **reading: Any,
) -> OpenHead:
    """Open a head to read `inputs` by another source, other settings, or as `reading` has it; see `Reading`.

    Raises IceboxError for an `out` that would replace an input or the data that the head was fitted on.
    """
    if out is not None and not of_pictures:  # before anything is loaded, where the answer must be a table
        output.refuse_target(out, [Path(each) for each in inputs], safe=safe)
    head = open_head(name, trust=trust, of_pictures=of_pictures)
    alignment.require_alignment(head.bundle, adapt, name)
    if out is not None and head.bundle.task not in DENSE_TASKS:
        output.refuse_target(out, [*(Path(each) for each in inputs), *own_files(head.bundle)], safe=safe)
    return replace(head, adapt=adapt, reading=replace(head.reading.with_source(source, settings), **reading))


def set_predictor(head: OpenHead, *, coverage: float, by_class: bool) -> SetPredictor:
    """Sets of classes for this head's answers, calibrated on its predictions for val; doubts about these are logged.

    Raises IceboxError where such sets can't be had.
    """
    if head.export is not None:
        return exported_sets(head, coverage=coverage, by_class=by_class)
    path, details = paths.predictions(*head.place), paths.details(*head.place)
    for each in (path, details):
        if not each.exists():
            raise IceboxError(f"--coverage: sets are calibrated by {each}, which is not here; run: dvc pull {each}")
    with located(f"predict {head.name}"):
        stored = prediction_file.read(path)
        sets = conformal.calibrate(stored, read_json(details, {}), coverage=coverage, by_class=by_class)
        if sets.classes != head.bundle.classes:
            raise IceboxError(f"{path}: is of other classes than the bundle; run: dvc checkout")
    for doubt in sets.doubts():
        logger.warning("%s: %s", head.name, doubt)
    return sets


def exported_sets(head: OpenHead, *, coverage: float, by_class: bool) -> SetPredictor:
    """Sets of classes for the answers of an export, calibrated on the scores of val that lie in it."""
    assert head.export is not None
    by_name = exported_model.val_scores(head.export)
    sets = conformal.of_scores(head.bundle.classes, by_name, coverage=coverage, by_class=by_class)
    for doubt in sets.doubts():
        logger.warning("%s: %s", head.name, doubt)
    return sets


def to_table(
    head: OpenHead,
    inputs: Sequence[str],
    *,
    out: Path | None = None,
    on_error: OnError = "fail",
    safe: bool = False,
    sets: SetPredictor | None = None,
    sketch: Path | None = None,
) -> None:
    """Predict the inputs; print CSV, or write CSV, JSON Lines or Parquet to `out`.

    The columns are id, input, label (of a regression the value) and, by class, `p_CLASS`, or `score_CLASS` of a head
    without probabilities; with `sets`, before these, the set of classes as a JSON list, which may be empty.
    The features are added to the file `sketch`, which need not be there yet.
    """
    if sketch is not None and head.export is not None:
        raise IceboxError(
            f"--sketch: sketches are of a store's features, and the export {head.name} gives answers only; name the "
            "head that it was made of, STORE/HEAD, in its project"
        )
    sketched = None if sketch is None else sketches.open_for(sketch, sketch_source(head.bundle))
    opened, unread, empty, answered, without = head.bundle, Unread(on_error), EmptyTexts(), 0, 0
    with output.open_table(out, columns(opened, sets=sets is not None), safe=safe) as write:
        newcomers = Newcomers()
        read = newcomers.watch(batches(opened, head.backbone, head.reading.items(inputs), unread))
        opened, read = alignment.aligned(opened, read, head.adapt)
        for batch in read:
            answers, inside = answer(opened, batch), None
            if sets:
                inside = sets.sets(answers.scores, conformal.ties_of(map(fingerprint.of_content, batch.contents)))
                without += int((~inside.any(axis=1)).sum())
            write(list(rows(opened, batch, answers, inside)))
            answered += len(batch.items)
            if sketched is not None:
                sketched.add(batch.features)
            for content in batch.contents:
                empty.watch(content)
        unread.report(answered)
        write([])  # of no items the columns alone
    if sketched is not None and sketch is not None:
        sketched.write(sketch)
    empty.report()
    newcomers.report(head.bundle)
    if sets and without:
        logger.info(
            "%s of %s sets are empty: no class there is as likely as true ones are; where the head is right more often "
            "than the %g asked for, ask for more",
            f"{without:,}",
            f"{answered:,}",
            sets.coverage,
        )


def sketch_source(opened: Bundle) -> dict[str, Any]:
    """The source of a sketch of this head's features."""
    return sketches.source_of(opened.fingerprint, opened.head_outputs or opened.outputs, opened.view)


def to_folder(head: OpenHead, inputs: Sequence[str], *, out: Path | None, on_error: OnError) -> None:
    """Write masks or boxes of the inputs, pictures or folders of them, into a new folder `out`."""
    if out is None:
        raise IceboxError(
            f"predict {head.name}: answers of a {head.bundle.task} are pictures and boxes; say where: --out FOLDER"
        )
    from icebox.pipeline.inference import pictures

    unread = Unread(on_error)
    assert isinstance(head.backbone, Backbone)  # no store of a dense task is joined
    unread.report(pictures.predict(head.bundle, head.backbone, head.reading.items(inputs), unread, out))


def reading_of(opened: Bundle, backbone: Backbone) -> Reading:
    """How further items are read: as those that the head was fitted on."""
    return Reading(
        modality="pair" if opened.pairs else backbone.modality,
        source=opened.source,
        parameters=opened.parameters or {},
        clean=opened.clean,
    )


def own_files(opened: Bundle) -> list[Path]:
    """The files of the datasets that the head was fitted on, which no predictions may replace."""
    return [
        path
        for part in parts_of(opened)
        if part.source
        for path in plugin_schema.dataset_paths(part.source, part.parameters or {})
    ]


def answer(opened: Bundle, batch: Batch) -> Predictions:
    """A head's answers for a batch: classes and their scores, or values, or sets of labels and the labels' scores."""
    if opened.task == "multilabel":
        return predictions.predict_sets(opened.head, batch.features)
    if opened.task == "regression":
        values = np.asarray(opened.head.predict(batch.features), np.float64)
        return Predictions(values, np.empty((len(values), 0)), has_probabilities=False)
    return predictions.predict(opened.head, batch.features, len(opened.classes))

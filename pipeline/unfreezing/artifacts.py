"""Artifacts of a fine-tuning: the network as a backbone, its head as a bundle, details for the report."""

import json
import shutil
from typing import Any

from icebox.features import files
from icebox.features.extraction.extract import fingerprint_of
from icebox.pipeline.catalog import backbones
from icebox.pipeline.estimators.decision import ThresholdHead
from icebox.pipeline.evaluation import peak_memory
from icebox.pipeline.fitting.details import decisions, origin
from icebox.pipeline.inference import bundle
from icebox.pipeline.project import paths
from icebox.pipeline.training.curves import summarize
from icebox.pipeline.training.pretrain_loop import METRICS_FILE
from icebox.pipeline.unfreezing.job import FineTuningJob
from icebox.pipeline.unfreezing.runs import RunResult


def save(job: FineTuningJob, result: RunResult) -> None:
    """Write the network where its family's `load` finds it, and the head as a bundle that names it as backbone."""
    folder, start = paths.backbone(job.key), job.start_bundle
    shutil.rmtree(folder, ignore_errors=True)
    result.backbone.save(folder)
    summary = summarize(result.progress.curve, job.choose)
    files.write_text(folder / METRICS_FILE, json.dumps(summary, indent=2) + "\n")
    loaded = backbones.load(job.key, start.family, start.head_outputs, precision="float32", **start.options)
    head = job.trained_head(result.model.head.cpu().eval())
    if (thresholds := job.thresholds(result.splits)) is not None:
        head = ThresholdHead(head, thresholds)
    saved = bundle.Bundle(
        head=head,
        task=job.task,
        classes=job.classes,
        store=job.options.store,
        fingerprint=fingerprint_of({**loaded.spec, "stored": "float32"}),
        backbone=job.key,
        family=start.family,
        outputs=start.head_outputs,
        precision="float32",
        stored="float32",
        options=start.options,
        head_outputs=start.head_outputs,
        view=start.view,
        pairs=start.pairs,
        clean=start.clean,
        dataset=start.dataset,
        source=start.source,
        parameters=start.parameters,
    )
    bundle.save(saved, input_name=job.options.store, head=job.key)


def details(job: FineTuningJob, results: list[RunResult]) -> dict[str, Any]:
    """Details of the training, for the report."""
    first = results[0]
    thresholds = job.thresholds(first.splits)
    return {
        **origin(job.config, job.options.start_input),
        "task": job.task,
        "chosen": job.options.model_dump(mode="json", exclude_defaults=True, exclude={"store"}),
        "settings": 1,
        "chosen_on": "val",
        "choose": job.fit.choose,
        "refit": "train",
        "calibrate": "none",
        "converged": None,
        **({} if thresholds is None else decisions(ThresholdHead(None, thresholds), job.fit, job.classes)),
        "class_weights": job.fit.class_weights,
        "bundle_bytes": paths.bundle(job.options.store, job.key).stat().st_size,
        "peak_memory_bytes": peak_memory.peak_bytes(),
        "seeds": [
            {"seed": result.seed, **{split: scored.scores for split, scored in result.splits.items()}}
            for result in results
        ],
        "unfrozen": {
            "by_seed": [summarize(result.progress.curve, job.choose) for result in results],
            "blocks": first.schedule.blocks,
            "parameters_free": [len(free) for free in first.schedule.free_parameters],
            "parameters_trained": first.parameters_trained,
            "entered_behind": first.frozen_block,
        },
    }


def curve_line(line: dict[str, float]) -> tuple[int, dict[str, float]]:
    """A line of a run's progress → (epoch, values for the learning curve): train's loss and val's scores."""
    scores = {name: value for name, value in line.items() if name not in ("epoch", "loss", "n")}
    return int(line["epoch"]), {"train/loss": line["loss"], **{f"val/{name}": value for name, value in scores.items()}}

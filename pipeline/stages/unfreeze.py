"""Stage `unfreeze@NAME`: a store's backbone trained on, end to end, from a head that was fitted on the store."""

import json
import shutil
from typing import Any

from icebox.features import files
from icebox.features.errors import located
from icebox.features.extraction.extract import fingerprint_of
from icebox.pipeline.catalog import backbones
from icebox.pipeline.config.schema import Config
from icebox.pipeline.estimators.torch_module import ModuleClassifier, ModuleRegressor
from icebox.pipeline.evaluation import peak_memory, results
from icebox.pipeline.inference import bundle
from icebox.pipeline.project import paths
from icebox.pipeline.training.curves import Curve, summarize
from icebox.pipeline.training.pretrain_loop import METRICS_FILE
from icebox.pipeline.unfreezing.job import Job, Outcome


def run(config: Config, key: str) -> None:
    """Write the network as a backbone, its head as a bundle, the curve, and the results that every head has."""
    entry = config.unfreeze[key]
    with located(f"unfreeze.{key}"):
        job = Job(config, key)
        curve = Curve(paths.curve(key))
        first = job.run(entry.seed, tell=lambda line: curve.add(*line_of(line)))
        curve.add_summary(summarize(first.progress.curve, job.fit.choose))
        others = [job.run(seed) for seed in range(entry.seed + 1, entry.seed + entry.seeds)]
    save(job, first)
    results.write(
        entry.store,
        key,
        classes=job.data.classes,
        splits=first.splits,
        val=first.splits["val"].scores,
        numbers={"train_n": len(job.data.train.labels), "fit_s": round(first.progress.seconds, 3)},
        details=details(job, [first, *others]),
    )
    shutil.rmtree(job.folder, ignore_errors=True)  # a finished run needs no checkpoints
    test = ", ".join(f"{name} {value:.4f}" for name, value in first.splits["test"].scores.items() if name != "n")
    print(f"{key}: best after epoch {first.progress.best_epoch}: test {test}")


def save(job: Job, outcome: Outcome) -> None:
    """The network where its family's `load` finds it, and the head with what it must be fed."""
    shutil.rmtree(paths.backbone(job.key), ignore_errors=True)
    outcome.network.save(paths.backbone(job.key))
    summary = summarize(outcome.progress.curve, job.fit.choose)
    files.write_text(paths.backbone(job.key) / METRICS_FILE, json.dumps(summary, indent=2) + "\n")
    loaded = backbones.load(job.key, job.started.family, job.started.sees, precision="float32", **job.started.options)
    family = ModuleClassifier if job.data.classes else ModuleRegressor
    head = family(outcome.whole.head.cpu().eval()).fit(job.data.train.features, job.data.train.labels)
    saved = bundle.Bundle(
        head=head,
        task=job.data.task,
        classes=job.data.classes,
        store=job.entry.store,
        fingerprint=fingerprint_of({**loaded.spec, "stored": "float32"}),
        backbone=job.key,
        family=job.started.family,
        outputs=job.started.sees,
        precision="float32",
        stored="float32",
        options=job.started.options,
        sees=job.started.sees,
        view=job.started.view,
        pairs=job.started.pairs,
    )
    bundle.save(saved, store=job.entry.store, head=job.key)


def details(job: Job, outcomes: list[Outcome]) -> dict[str, Any]:
    """How it was trained, for people and for the report."""
    entry, first = job.entry, outcomes[0]
    return {
        "task": job.data.task,
        "chosen": entry.model_dump(mode="json", exclude_defaults=True, exclude={"store"}),
        "settings": 1,
        "chosen_on": "val",
        "choose": job.fit.choose,
        "refit": "train",
        "calibrate": "none",
        "converged": None,
        "class_weights": job.store.fit.class_weights,
        "bundle_bytes": paths.bundle(entry.store, job.key).stat().st_size,
        "peak_memory_bytes": peak_memory.peak_bytes(),
        "seeds": [
            {"seed": each.seed, **{split: scored.scores for split, scored in each.splits.items()}} for each in outcomes
        ],
        "unfrozen": {
            "by_seed": [summarize(each.progress.curve, job.fit.choose) for each in outcomes],
            "blocks": first.plan.order,
            "parameters_free": [len(free) for free in first.plan.free],
            "entered_behind": first.entered,
        },
    }


def line_of(line: dict[str, float]) -> tuple[int, dict[str, float]]:
    """An epoch as the curve has it (0 is the start): the loss is train's, which it has passed; the scores are val's."""
    scores = {name: value for name, value in line.items() if name not in ("epoch", "loss", "n")}
    return int(line["epoch"]), {"train/loss": line["loss"], **{f"val/{name}": value for name, value in scores.items()}}

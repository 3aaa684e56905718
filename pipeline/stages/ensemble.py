"""Stage `ensemble@STORE`: the heads that are best on val predict together, by the mean of their probabilities."""

import logging
from dataclasses import replace

from icebox.features.errors import IceboxError, located, suggestion
from icebox.pipeline.config.decide import ARGMAX
from icebox.pipeline.config.schema import Config
from icebox.pipeline.estimators.decision import OffsetHead, ThresholdHead
from icebox.pipeline.estimators.ensemble import MeanEnsemble, MeanSets
from icebox.pipeline.evaluation import formatting, not_applicable, peak_memory, prediction_file, results
from icebox.pipeline.evaluation.prediction_file import StoredPredictions, StoredSets
from icebox.pipeline.fitting import decisions, details, ensemble_selection
from icebox.pipeline.inference import bundle
from icebox.pipeline.project import paths

logger = logging.getLogger("icebox")


def run(config: Config, key: str) -> None:
    """Choose the members on val, and write what a head's fit writes."""
    if key not in config.ensembles:
        raise IceboxError(f"ensemble {key}: not in params.yaml; {suggestion(key, list(config.ensembles))}")
    fit = config.fit_options(key)
    heads = [head for head in config.heads if not not_applicable.reason(key, head)]
    stored = {head: read_predictions(key, head) for head in heads}
    candidates = {head: predictions for head, predictions in stored.items() if predictions.has_probabilities}
    if len(candidates) < 2 or not all("val" in predictions.splits for predictions in candidates.values()):
        raise IceboxError(
            f"ensembles.{key}: expected two heads or more with probabilities of val, "
            f"found {', '.join(candidates) or 'none'}"
        )
    selected = ensemble_selection.select(candidates, choose=fit.choose, size=config.ensembles[key].members)
    bundles = [bundle.load(paths.bundle(key, head)) for head in selected.members]
    classes = bundles[0].classes
    sets = config.task(key) == "multilabel"
    ensemble = (MeanSets if sets else MeanEnsemble)([each.head for each in bundles], len(classes))
    head: MeanEnsemble | OffsetHead | ThresholdHead = ensemble
    tests, val = {name: scored for name, scored in selected.splits.items() if name != "val"}, selected.splits["val"]
    with located(f"ensembles.{key}"):
        if sets:
            scores, labels = val.predictions.scores, val.split.labels
            head = decisions.threshold_head(ensemble, scores, labels, fit.decide, classes)
            tests = {name: decisions.with_thresholds(scored, head.thresholds) for name, scored in tests.items()}
        elif fit.decide != ARGMAX:
            head = OffsetHead(
                ensemble,
                decisions.choose_offsets(val.predictions, val.split.labels, fit.decide, classes, val.split.groups),
            )
            tests = decisions.decided_tests(tests, head.offsets)
    bundle.save(replace(bundles[0], head=head), input_name=key, head=paths.ENSEMBLE)
    results.write(
        key,
        paths.ENSEMBLE,
        classes=classes,
        splits={"val": val, **tests},
        val=val.scores,
        numbers={"train_n": 0, "fit_s": 0.0, "predict_s": 0.0},
        details={
            **details.origin(config, key),
            **details.ensemble_details(selected, fit, config.task(key)),
            **details.decisions(head, fit, classes),
            "class_weights": fit.class_weights,
            "bundle_bytes": paths.bundle(key, paths.ENSEMBLE).stat().st_size,
            "peak_memory_bytes": peak_memory.peak_bytes(),
            "seeds": [],
            "labels": [],
            "search": [{"head": head, **scores} for head, scores in selected.val_scores.items()],
        },
    )
    test = formatting.scores_line(tests["test"].scores, fit.choose)
    logger.info("%s/%s: %s: test %s", key, paths.ENSEMBLE, " + ".join(selected.members), test)


def read_predictions(input_name: str, head: str) -> StoredPredictions | StoredSets:
    """The predictions of a head. Raises IceboxError where they are not here, as in a clone under --allow-missing."""
    path = paths.predictions(input_name, head)
    if not path.exists():
        raise IceboxError(f"{path}: not found; run: dvc pull {path} {paths.bundle(input_name, head)} (or dvc repro)")
    stored = prediction_file.read(path)
    assert isinstance(stored, StoredPredictions | StoredSets)  # ensembles of dense tasks are refused
    return stored

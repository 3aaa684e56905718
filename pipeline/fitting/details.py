"""Details of the choice and fit of a head, as the report and `compare` read them."""

from collections.abc import Sequence
from typing import Any

from icebox.pipeline.config.decide import ARGMAX
from icebox.pipeline.config.fit import Fit
from icebox.pipeline.config.schema import Config, store_of
from icebox.pipeline.estimators.decision import OffsetHead, ThresholdHead
from icebox.pipeline.fitting.ensemble_selection import SelectedEnsemble
from icebox.pipeline.fitting.final_fit import FitResult


def origin(config: Config, input_name: str) -> dict[str, Any]:
    """Names of the dataset, backbone, store and input behind a result, for when params.yaml no longer holds them."""
    store = store_of(input_name)
    dataset, backbone = config.dataset_name(store), config.backbone_name(store)
    return {"dataset": dataset, "backbone": backbone, "store": store, "input": input_name}


def selection_details(result: FitResult, fit: Fit, task: str) -> dict[str, Any]:
    """The chosen parameters, what they were chosen on and by, and how the chosen head was fitted."""
    search = result.search
    return {
        "task": task,
        "chosen": {name: value for name, value in search.parameters.items() if name != "seed"},
        "settings": len(search.table),
        "chosen_on": search.chosen_on,
        "choose": search.metric,
        "folds": [trial.scores for trial in search.trials] if search.chosen_on != "val" else [],
        "same_folds": search.folds_id,
        "fewer_folds": search.fewer_folds,
        "refit": fit.refit,
        "calibrate": fit.calibrate,
        "converged": result.seeds[0].fitted.converged,
    }


def decisions(head: Any, fit: Fit, classes: Sequence[str]) -> dict[str, Any]:
    """The aim of a head's decisions and the offset of each class, where it does not take the largest score; of sets of
    labels the thresholds."""
    if isinstance(head, ThresholdHead):
        decided = {"decide": fit.decide} if fit.decide != ARGMAX else {}
        return {**decided, "thresholds": dict(zip(classes, head.thresholds.tolist(), strict=True))}
    if not isinstance(head, OffsetHead):
        return {}
    return {"decide": fit.decide, "offsets": dict(zip(classes, head.offsets.tolist(), strict=True))}


def ensemble_details(selected: SelectedEnsemble, fit: Fit, task: str) -> dict[str, Any]:
    """The members of an ensemble, and what they were chosen on and by; nothing was fitted."""
    return {
        "task": task,
        "chosen": {"members": selected.members},
        "settings": len(selected.val_scores),
        "chosen_on": "val",
        "choose": fit.choose,
        "refit": fit.refit,
        **({"calibrate": fit.calibrate} if fit.calibrate != "none" else {}),
        "converged": None,
        "ensemble": selected.members,
    }


def scores_by_seed(result: FitResult) -> list[dict[str, Any]]:
    """The scores under each seed, split by split; without val's where the head was fitted on val, too."""
    return [
        {"seed": each.fitted.seed}
        | ({"val": each.val} if each.val else {})
        | {split: scored.scores for split, scored in each.tests.items()}
        for each in result.seeds
    ]

"""How a head was chosen and fitted, as the report and `compare` read it."""

from typing import Any

from icebox.pipeline.config.schema import Fit
from icebox.pipeline.fitting.fit_head import Learnt


def selection_details(learnt: Learnt, fit: Fit, task: str) -> dict[str, Any]:
    """The chosen parameters, what they were chosen on and by, and how the chosen head was fitted."""
    found = learnt.found
    return {
        "task": task,
        "chosen": {name: value for name, value in found.setting.items() if name != "seed"},
        "settings": len(found.table),
        "chosen_on": found.chosen_on,
        "choose": found.measure,
        "folds": [each.scores for each in found.tried] if found.chosen_on != "val" else [],
        "same_folds": found.folds,
        "refit": fit.refit,
        "calibrate": fit.calibrate,
        "converged": learnt.seeds[0].fitted.converged,
    }


def scores_by_seed(learnt: Learnt) -> list[dict[str, Any]]:
    """The scores under each seed, split by split; without val's where the head was fitted on val, too."""
    return [
        {"seed": each.fitted.seed}
        | ({"val": each.val} if each.val else {})
        | {split: scored.scores for split, scored in each.tests.items()}
        for each in learnt.seeds
    ]

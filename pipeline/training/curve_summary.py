"""How a training went, in a few numbers: how soon it was nearly as good as it got, how far val fell behind train."""

from collections.abc import Mapping, Sequence

from icebox.pipeline.evaluation.metric_directions import SMALLER_IS_BETTER

NEAR = 0.05  # of the best score


def course(curve: Sequence[Mapping[str, float]], measure: str) -> dict[str, float]:
    """Of a curve with a line an epoch (epoch 0: before the first step): the epochs, the best one by val's `measure`,
    the first one within 5% of its score, and `val_minus_train`: val's loss less train's at the best epoch (log loss, or
    mean square error). Train's is the mean over the epoch, with augmentation and smoothing where there are any.
    """
    smaller = measure in SMALLER_IS_BETTER
    values = [line[measure] for line in curve]
    best = min(values) if smaller else max(values)
    at = values.index(best)
    near = next(i for i, v in enumerate(values) if (v <= best * (1 + NEAR) if smaller else v >= best * (1 - NEAR)))
    found: dict[str, float] = {"epochs": len(curve) - 1, "best_epoch": at, "near_best_epoch": near}
    if at > 0:
        line = curve[at]
        val = line["rmse"] ** 2 if "rmse" in line else line["log_loss"]
        found["val_minus_train"] = round(val - line["loss"], 6)
    return found

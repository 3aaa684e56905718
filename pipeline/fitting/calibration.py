"""Probabilities that mean what they say: a map from a fitted head's scores to frequencies, learnt on val."""

from typing import Any, Literal

from icebox.pipeline.data.labelled import LabelledSplit


def calibrated(head: Any, val: LabelledSplit, method: Literal["temperature", "isotonic"]) -> Any:
    """The head behind a map fitted on val, which it must not have seen.

    `temperature` is one number (Guo et al. 2017) and changes no prediction; `isotonic` a rising curve for each class,
    for val sets of thousands. A head without probabilities gets them.
    """
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.frozen import FrozenEstimator

    return CalibratedClassifierCV(FrozenEstimator(head), method=method).fit(val.features, val.labels)

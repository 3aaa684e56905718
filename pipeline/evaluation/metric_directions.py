"""Which way scores point. Apart from `metrics`, whose scikit-learn costs seconds to import."""

from collections.abc import Mapping

SMALLER_IS_BETTER = ("log_loss", "ece", "rmse", "mae")


def worth(scores: Mapping[str, float], measure: str) -> float:
    """How good scores are by a measure: larger is better, whatever the measure."""
    measure = present(scores, measure)
    return -scores[measure] if measure in SMALLER_IS_BETTER else scores[measure]


def present(scores: Mapping[str, float], measure: str) -> str:
    """The measure, or accuracy of a head without probabilities that was to be chosen by its log loss."""
    return measure if measure in scores else "accuracy"

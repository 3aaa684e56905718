"""The section `fit` of params.yaml."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from icebox.pipeline.config.decide import ARGMAX, Decide
from icebox.pipeline.config.numbers import Seed
from icebox.pipeline.config.section import Section
from icebox.pipeline.data.class_weights import ClassWeights
from icebox.pipeline.evaluation import metrics

LATER_KEYS = ("decide", "adapt", "shares", "few_labels")  # of `fit`: those that stamps of settings once lacked
LabelsPerClass = Literal["all"] | Annotated[int, Field(ge=1)]
Refit = Literal["train", "train+val"]
Calibrate = Literal["none", "temperature", "isotonic"]
FewLabels = Literal["folds", "val"]
Adapt = Literal["none", "standardize", "coral"]
Shares = Literal["train", "em", "bbse"]


def check_metric(value: Any) -> Any:
    """The name of a metric that may choose, of any task."""
    if value not in METRICS:
        raise ValueError(f"expected one of {', '.join(METRICS)}")
    return value


def check_search(value: Any) -> Any:
    """`grid`, `{random: n}` or `{halving: n}`."""
    match value:
        case "grid":
            return value
        case {"random": int(n)} | {"halving": int(n)} if len(value) == 1 and n > 0:
            return value
    raise ValueError("expected grid, {random: n} or {halving: n}")


SETTINGS = {"type": "integer", "minimum": 1}
SEARCH_SCHEMA = {
    "anyOf": [
        {"const": "grid"},
        *(
            {"type": "object", "properties": {way: SETTINGS}, "required": [way], "additionalProperties": False}
            for way in ("random", "halving")
        ),
    ]
}
METRICS = [name for name, metric in metrics.METRICS.items() if metric.chooses]
Search = Annotated[Literal["grid"] | dict[str, int], BeforeValidator(check_search), WithJsonSchema(SEARCH_SCHEMA)]
Choose = Annotated[str, BeforeValidator(check_metric), WithJsonSchema({"enum": METRICS})]


class Fit(Section):
    """Settings of every fit.

    `choose`: the score that picks the winner. `search`: the whole grid, or n settings of it, drawn at random or halved.
    `folds` inside train choose instead of val, and anyway where there is no val (then 5). Heads with randomness are
    fitted under `seeds` seeds, `seed` and those after it. `labels_per_class` items of each class in train and as many
    in val, or all; a list gives the few-label curve, whose last point, the most labels, is the main result.
    `class_weights` say how much each class counts. `refit`: train keeps the winner, train+val fits it again on both.
    `calibrate`: how probabilities are mapped to frequencies on val. `decide`: how scores become a class: argmax, or
    by offsets chosen on val for an aim: the name of a score, {recall: {CLASS: 0.95}}, {costs: {CLASS: {PREDICTED: 5}}}.
    `adapt`: how val and each test set are aligned to train by their unlabeled features, and `shares`, the classes'
    shares that this takes them to have: those of train, or an estimate. `few_labels`: where train has five labels of
    a class or fewer, and val as few, settings are chosen by the log loss on folds of both, and the head is fitted on
    both; or by val, as where there are more.
    """

    choose: Choose = metrics.primary("classification").name
    seed: Seed = 0
    seeds: Annotated[int, Field(ge=1, le=1000)] = 5
    search: Search = "grid"
    folds: Annotated[int, Field(ge=2)] | None = None
    refit: Refit = "train"
    calibrate: Calibrate = "none"
    labels_per_class: LabelsPerClass | Annotated[list[LabelsPerClass], Field(min_length=1)] = "all"
    class_weights: ClassWeights = "none"
    decide: Decide = ARGMAX
    adapt: Adapt = "none"
    shares: Shares = "train"
    few_labels: FewLabels = "folds"

    @property
    def settings(self) -> dict[str, Any]:
        """All values, those of later versions only where they are not at their defaults: a stamp of settings must not
        change because a key is new."""
        fields = type(self).model_fields
        return self.model_dump(exclude={name for name in LATER_KEYS if getattr(self, name) == fields[name].default})

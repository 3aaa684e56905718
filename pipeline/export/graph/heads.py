"""Fitted heads as torch modules, preprocessing, calibration and decision included. They compute what the head does.

Letters: b batch, d features, k classes.
"""

from typing import Any

import numpy as np
import torch
from sklearn.calibration import CalibratedClassifierCV
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import Normalizer
from torch import Tensor, nn

from icebox.features.errors import IceboxError
from icebox.features.manifest.validation import Task
from icebox.pipeline.estimators.alignment import AlignedHead
from icebox.pipeline.estimators.classification import LogitsClassifier, SetLogitsClassifier
from icebox.pipeline.estimators.decision import OffsetHead, ThresholdHead
from icebox.pipeline.estimators.ensemble import MeanEnsemble, MeanSets
from icebox.pipeline.estimators.linear import (
    LinearLogitsClassifier,
    LinearMarginClassifier,
    LinearModel,
    LinearRegressor,
    LinearSetClassifier,
    LinearSetMargins,
)
from icebox.pipeline.estimators.preprocessing import PreprocessedHead
from icebox.pipeline.estimators.torch_module import ModuleClassifier, ModuleRegressor, ModuleSets
from icebox.pipeline.evaluation.predictions import PLAIN_THRESHOLD
from icebox.pipeline.export.graph import trees
from icebox.pipeline.export.graph.calibration import Curve, Curves, Temperature
from icebox.pipeline.export.graph.head_modules import (
    TINY,
    Answers,
    Behind,
    JointLogLikelihood,
    Layers,
    Linear,
    Logits,
    Margins,
    Mean,
    MeanOfLabels,
    Neighbors,
    SetLogits,
    SetMargins,
    Shares,
    Values,
    Widened,
    summing_to_one,
)
from icebox.pipeline.export.graph.preprocessing import Alignment, UnitLength, step_of

NEIGHBORS_NUMBERS_MAX = 50_000_000  # train items × features of a knn: 200 MB in the file
NOT_EXPORTED = {  # type of a head's estimator → why it has no export
    "RBFSVMClassifier": "libsvm's votes of pairs of classes have no counterpart; take linear_svm, logreg or mlp",
    "RBFSVMRegressor": "its kernel is a function of Python; take ridge or mlp",
    "TabICLClassifier": "its network and weights are a package's own, which may not be handed on",
}


class HeadNetwork(nn.Module):
    """A head as a module: features → its answers, and the scores that they are chosen by.

    `kind`: `probabilities`, `scores` (margins) or `value`.
    """

    offsets: Tensor
    thresholds: Tensor

    def __init__(self, answers: Answers, *, task: Task, offsets: np.ndarray, thresholds: np.ndarray | None) -> None:
        """`offsets` (k,) of decisions, 0 where there are none; `thresholds` (k,) of labels."""
        super().__init__()
        self.answers, self.task = answers, task
        self.is_decided = bool(np.any(offsets))
        self.register_buffer("offsets", torch.from_numpy(np.asarray(offsets, np.float64)))
        plain = np.full(len(offsets), PLAIN_THRESHOLD[answers.has_probabilities])
        limits = plain if thresholds is None else np.asarray(thresholds, np.float64)
        self.register_buffer("thresholds", torch.from_numpy(limits))

    @property
    def kind(self) -> str:
        """The name of the scores."""
        if self.task == "regression":
            return "value"
        return "probabilities" if self.answers.has_probabilities else "scores"

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features (b, d) float32 → scores (b, k) float32 and class numbers (b,), or labels (b, k) bool; of a
        regression values (b,) float64, twice."""
        scores = self.answers(x)
        if self.task == "regression":
            values = scores[:, 0].double()
            return values, values
        if self.task == "multilabel":
            scores = scores.float()
            return scores, scores.double() > self.thresholds
        if self.answers.has_probabilities:
            scores = summing_to_one(scores)
        levels = scores.double()
        if self.is_decided:
            levels = torch.log(torch.clamp(levels, min=TINY)) if self.answers.has_probabilities else levels
            levels = levels + self.offsets
        return scores.float(), levels.argmax(1)


def network_of(head: Any, *, task: Task, classes: int) -> HeadNetwork:
    """A fitted head as a module. Raises IceboxError, in one line, for one that has no such form."""
    offsets, thresholds = np.zeros(classes), None
    if isinstance(head, OffsetHead):
        head, offsets = head.head, np.asarray(head.offsets)
    elif isinstance(head, ThresholdHead):
        head, thresholds = head.head, np.asarray(head.thresholds)
    answers = answers_of(head)
    if task == "classification":
        known = np.asarray(head.classes_)
        if len(known) < classes:
            answers = Widened(answers, known, classes)
    return HeadNetwork(answers, task=task, offsets=offsets, thresholds=thresholds).eval()


def answers_of(head: Any) -> Answers:
    """The scores of a head, or of one within another. Raises IceboxError for one that has no such form."""
    match head:
        case PreprocessedHead():
            steps = nn.Sequential(*[step_of(step) for _, step in head.preprocess_.steps])
            answers = answers_of(head.estimator_)
            if hasattr(head, "targets_"):
                answers = Values(nn.Sequential(answers, Linear(np.diag(head.targets_.scale_), head.targets_.mean_)))
            return Behind(steps, answers)
        case AlignedHead():
            return Behind(Alignment(head), answers_of(head.head))
        case FrozenEstimator():
            return answers_of(head.estimator)
        case CalibratedClassifierCV():
            return calibrated(head)
        case OffsetHead() | ThresholdHead():  # of a member of an ensemble: its decisions have no part in it
            return answers_of(head.head)
        case MeanSets():
            return MeanOfLabels([answers_of(member) for member in head.heads])
        case MeanEnsemble():
            return Mean([widened(member, head.classes) for member in head.heads])
        case Pipeline() if [type(step) for _, step in head.steps[:-1]] == [Normalizer]:  # knn by cosine
            return Behind(UnitLength(), answers_of(head.steps[-1][1]))
    return estimator_of(head)


def widened(head: Any, classes: int) -> Answers:
    """A member of an ensemble, over all classes."""
    answers, known = answers_of(head), np.asarray(head.classes_)
    return answers if len(known) == classes else Widened(answers, known, classes)


def estimator_of(model: Any) -> Answers:
    """The scores of the estimator behind the preprocessing."""
    from icebox.pipeline.heads.hist_gb import HistGBClassifier, HistGBRegressor
    from icebox.pipeline.heads.knn import NeighborSets
    from icebox.pipeline.heads.lightgbm import BoostedClassifier, BoostedRegressor, BoostedSets

    match model:
        case LinearModel():
            return linear(model)
        case LinearDiscriminantAnalysis() | LogisticRegression():
            return Logits(Linear(model.coef_, model.intercept_))
        case LogitsClassifier() if hasattr(model, "layers_"):
            return Logits(Layers(model.layers_))
        case SetLogitsClassifier() if hasattr(model, "layers_"):
            return SetLogits(Layers(model.layers_))
        case GaussianNB():
            return Logits(JointLogLikelihood(model), as_margins=False)
        case NeighborSets():
            return Shares(neighbors(model.votes_))
        case KNeighborsClassifier():
            return Shares(neighbors(model))
        case KNeighborsRegressor():
            return Values(neighbors(model))
        case RandomForestClassifier():
            return Shares(trees.of_sklearn_forest(model))
        case RandomForestRegressor():
            return Values(trees.of_sklearn_forest(model))
        case HistGBClassifier():
            return Logits(trees.of_hist_gb(model.model_), as_margins=False)
        case HistGBRegressor():
            return Values(trees.of_hist_gb(model.model_))
        case BoostedClassifier():
            k = len(model.classes_)
            return Logits(trees.of_lightgbm(model.booster_, k if k > 2 else 1), as_margins=False)
        case BoostedRegressor():
            return Values(trees.of_lightgbm(model.booster_, 1))
        case BoostedSets():
            return Shares(trees.SideBySide([label_trees(each) for each in model.boosters_]))
        case ModuleClassifier():
            return Logits(model.module, as_margins=False)
        case ModuleSets():
            return SetLogits(model.module)
        case ModuleRegressor():
            return Values(model.module)
    if hasattr(model, "layers_"):
        return Values(Layers(model.layers_))
    kind = type(model).__name__
    raise IceboxError(f"{kind} has no export: {NOT_EXPORTED.get(kind, 'it is no head that an export knows')}")


def linear(model: Any) -> Answers:
    """A linear head's scores."""
    outputs = Linear(model.coef_, model.intercept_)
    match model:
        case LinearRegressor():
            return Values(outputs)
        case LinearSetMargins():
            return SetMargins(outputs)
        case LinearMarginClassifier():
            return Margins(outputs)
        case LinearSetClassifier():
            return SetLogits(outputs)
        case LinearLogitsClassifier():
            return Logits(outputs)
    raise IceboxError(f"{type(model).__name__} has no export: it is no linear head that an export knows")


def label_trees(model: Any) -> nn.Module | float:
    """The probability of one label (b, 1), or the one that all items have."""
    if isinstance(model, float):
        return model
    return nn.Sequential(trees.of_lightgbm(model.booster_, 1), nn.Sigmoid())


def neighbors(model: Any) -> Neighbors:
    """The votes of a knn. Raises IceboxError for more train items than a file should hold."""
    items = np.asarray(model._fit_X)
    if items.size > NEIGHBORS_NUMBERS_MAX:
        raise IceboxError(
            f"knn has no export: it is its train items, {len(items):,} of {items.shape[1]:,} features, more than "
            f"{NEIGHBORS_NUMBERS_MAX:,} numbers; set pca, or take another head"
        )
    targets = np.asarray(model._y)
    if isinstance(model, KNeighborsClassifier):
        votes = np.eye(len(model.classes_))[targets.reshape(-1)]
    else:
        votes = targets.reshape(len(items), -1)
    weigh = model.weights if isinstance(model.weights, str) else "squares"
    return Neighbors(items, votes, neighbors=model.n_neighbors, weigh=weigh)


def calibrated(head: CalibratedClassifierCV) -> Answers:
    """A head behind its calibration."""
    (fitted,) = head.calibrated_classifiers_
    answers = answers_of(fitted.estimator)
    if head.method == "temperature":
        return Temperature(answers, float(fitted.calibrators[0].beta_))
    curves = [Curve(each.X_thresholds_, each.y_thresholds_) for each in fitted.calibrators]
    return Curves(answers, curves, len(head.classes_))

"""Gradient-boosted trees of LightGBM, with few bins and few columns a tree, which is quick on dense features."""

from abc import abstractmethod
from typing import Annotated, Any, Literal, Self

import numpy as np
from annotated_types import Ge, Gt, Le, Lt
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from icebox.pipeline.data.on_disk import DiskFeatures, validate_fit_data
from icebox.pipeline.estimators.classification import SetClassifier, class_numbers, of_known_classes, set_columns
from icebox.pipeline.estimators.preprocessing import PreprocessedHead

STREAMS = True  # reads features from disk where they are large
SEARCH = {"n_estimators": 150, "num_leaves": [7, 24]}  # the grid of an entry without settings
BIN_SAMPLE = 20_000  # items that bins are made from, in float64: LightGBM's 200,000 of 512 features would take 800 MB
READS = 16  # of the disk, for that sample
MIN_COLUMNS = 16  # of 64 features a tenth was too few: val accuracy on digits 0.97 against 0.98


def build(
    *,
    n_estimators: Annotated[int, Ge(1), Le(100_000)] = 100,
    num_leaves: Annotated[int, Ge(2), Le(131_072)] = 24,
    learning_rate: Annotated[float, Gt(0), Le(10)] = 0.2,
    colsample_bytree: Annotated[float, Gt(0), Le(1)] = 0.1,
    max_bin: Annotated[int, Ge(2), Le(65_535)] = 63,
    min_child_samples: Annotated[int, Ge(0), Le(10**9)] = 5,
    early_stopping_round: Annotated[int, Ge(1), Le(100_000)] = 10,
    scale: Literal["each", "overall", "l2", "none"] = "none",
    pca: Annotated[int, Ge(1)] | Annotated[float, Gt(0), Lt(1)] | None = None,
    seed: Annotated[int, Ge(0), Lt(2**32)] = 0,
    task: Literal["classification", "regression", "multilabel"] = "classification",
) -> PreprocessedHead:
    """`n_estimators`: the most trees (for each class); training stops after `early_stopping_round` of them without a
    better val loss. `colsample_bytree`: the share of features that each tree may use, 16 of them at least.
    `num_leaves`: the most leaves of a tree. `learning_rate`: how much each tree adds. `max_bin`: how many bins a
    feature is sorted into. `min_child_samples`: the fewest items of a leaf."""
    family = {"classification": BoostedClassifier, "regression": BoostedRegressor, "multilabel": BoostedSets}[task]
    boosted = family(
        n_estimators=n_estimators,
        num_leaves=num_leaves,
        learning_rate=learning_rate,
        colsample_bytree=colsample_bytree,
        max_bin=max_bin,
        min_child_samples=min_child_samples,
        early_stopping_round=early_stopping_round,
        random_state=seed,
    )
    return PreprocessedHead(boosted, scale=scale, pca=pca)


class Boosted(BaseEstimator):
    """`booster_` is LightGBM's own, as text. One thread: the fits of a search run in parallel instead."""

    def __init__(
        self,
        *,
        n_estimators: int = 100,
        num_leaves: int = 24,
        learning_rate: float = 0.2,
        colsample_bytree: float = 0.1,
        max_bin: int = 63,
        min_child_samples: int = 5,
        early_stopping_round: int = 10,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.n_estimators = n_estimators
        self.num_leaves = num_leaves
        self.learning_rate = learning_rate
        self.colsample_bytree = colsample_bytree
        self.max_bin = max_bin
        self.min_child_samples = min_child_samples
        self.early_stopping_round = early_stopping_round
        self.random_state = random_state

    @abstractmethod
    def _objective(self, y: Any) -> dict[str, Any]:
        """LightGBM's options for the loss on labels or values (n,)."""

    @abstractmethod
    def _targets(self, y: Any) -> np.ndarray:
        """Labels or values (n,) in LightGBM's encoding."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None, val: tuple[Any, Any] | None = None) -> Self:
        """Fit on features (n, d) and labels or values (n,); `val` is (features, labels) to stop by. Of features that
        stay on disk only their bins, a byte each, are in memory."""
        import lightgbm

        X, y = validate_fit_data(self, X, y)
        options = {
            **self._objective(y),
            "num_leaves": self.num_leaves,
            "learning_rate": self.learning_rate,
            "feature_fraction": max(self.colsample_bytree, min(1.0, MIN_COLUMNS / X.shape[1])),
            "max_bin": self.max_bin,
            "bin_construct_sample_cnt": max(BIN_SAMPLE, min(len(y) // 5 + 1, 100_000)),  # LightGBM warns of fewer
            "min_data_in_leaf": self.min_child_samples,
            "seed": int(check_random_state(self.random_state).randint(2**31 - 1)),
            "num_threads": 1,
            "deterministic": True,
            "force_col_wise": True,  # row-wise, the columns that a tree leaves out cost as much as the others
            "verbose": -1,
        }
        weights = None if sample_weight is None else self._weights(sample_weight, len(y))
        bins = binned_sample(X, options) if isinstance(X, DiskFeatures) else None
        data = lightgbm.Dataset(readable(X), label=self._targets(y), weight=weights, reference=bins, params=options)
        validation, callbacks = [], []
        if val is not None and hasattr(self, "classes_"):
            val = of_known_classes(val, self.classes_)
        if val is not None:
            validation = [data.create_valid(readable(val[0]), label=self._targets(val[1]))]
            callbacks = [lightgbm.early_stopping(self.early_stopping_round, verbose=False)]
        booster = lightgbm.train(options, data, self.n_estimators, valid_sets=validation, callbacks=callbacks)
        self.stopped_ = val is not None
        self.n_trees_ = booster.best_iteration if self.stopped_ else self.n_estimators
        self.booster_ = booster.model_to_string(num_iteration=self.n_trees_)
        return self

    def _weights(self, sample_weight: Any, n: int) -> np.ndarray:
        weights: np.ndarray = _check_sample_weight(sample_weight, np.empty((n, 1)), ensure_non_negative=True)
        return weights

    def refit_parameters(self) -> dict[str, Any]:
        """The number of trees that was best on val."""
        return {"n_estimators": self.n_trees_} if self.stopped_ else {}

    def _outputs(self, X: Any) -> np.ndarray:
        import lightgbm

        check_is_fitted(self)
        X = validate_data(self, X, dtype=(np.float32, np.float64), reset=False)
        outputs: np.ndarray = lightgbm.Booster(model_str=self.booster_).predict(X, num_threads=1)
        return outputs


def binned_sample(X: DiskFeatures, options: dict[str, Any]) -> Any:
    """A dataset of BIN_SAMPLE of the rows, whose bins serve for all. When LightGBM samples rows on disk by itself, it
    holds them three times over in float64."""
    import lightgbm

    random = np.random.default_rng(options["seed"])
    positions = np.sort(random.choice(len(X), min(BIN_SAMPLE, len(X)), replace=False))
    sample = np.empty((len(positions), X.shape[1]), np.float32)
    for part in np.array_split(np.arange(len(positions)), READS):
        sample[part] = X[positions[part]]
        X.store.release()  # rows from all over would leave most of the file's pages in memory
    return lightgbm.Dataset(sample, params=options).construct()


def readable(X: Any) -> Any:
    """Features in a form that LightGBM reads: an array; or rows on disk, some at a time."""
    from icebox.pipeline.data.lightgbm_sequence import FeatureSequence

    return FeatureSequence(X) if isinstance(X, DiskFeatures) else X


class BoostedRegressor(RegressorMixin, Boosted):
    """Values, by squared error."""

    def _objective(self, y: Any) -> dict[str, Any]:
        return {"objective": "regression"}

    def _targets(self, y: Any) -> np.ndarray:
        return np.asarray(y, dtype=np.float64)

    def predict(self, X: Any) -> np.ndarray:
        """Values (n,)."""
        return self._outputs(X)


class BoostedClassifier(ClassifierMixin, Boosted):
    """Classes, by log loss."""

    def _objective(self, y: Any) -> dict[str, Any]:
        self.classes_, _ = class_numbers(y)
        k = len(self.classes_)
        return {"objective": "binary"} if k == 2 else {"objective": "multiclass", "num_class": k}

    def _targets(self, y: Any) -> np.ndarray:
        return np.searchsorted(self.classes_, np.asarray(y))

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (n, k)."""
        outputs = self._outputs(X)
        return np.column_stack([1 - outputs, outputs]) if outputs.ndim == 1 else outputs

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class (n,)."""
        predicted: np.ndarray = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return predicted


class BoostedSets(SetClassifier):
    """Sets of labels: trees for each label against the rest, `boosters_`, which stop each for itself; a label that all
    items have, or none, has no trees and that probability."""

    def __init__(
        self,
        *,
        n_estimators: int = 100,
        num_leaves: int = 24,
        learning_rate: float = 0.2,
        colsample_bytree: float = 0.1,
        max_bin: int = 63,
        min_child_samples: int = 5,
        early_stopping_round: int = 10,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.n_estimators = n_estimators
        self.num_leaves = num_leaves
        self.learning_rate = learning_rate
        self.colsample_bytree = colsample_bytree
        self.max_bin = max_bin
        self.min_child_samples = min_child_samples
        self.early_stopping_round = early_stopping_round
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None, val: tuple[Any, Any] | None = None) -> Self:
        """Fit on features (n, d) and sets (n, k) of 0 and 1; `val` is (features, sets) to stop by."""
        targets = set_columns(y).astype(np.int8)
        self.n_labels_ = targets.shape[1]
        self.n_features_in_ = X.shape[1]
        self.boosters_ = [
            BoostedClassifier(**self.get_params()).fit(
                X, column, sample_weight, None if val is None else (val[0], np.asarray(val[1])[:, label])
            )
            if 0 < column.sum() < len(column)
            else float(column[0])
            for label, column in enumerate(targets.T)
        ]
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (n, k)."""
        check_is_fitted(self)
        columns = [
            np.full(len(X), each) if isinstance(each, float) else each.predict_proba(X)[:, 1] for each in self.boosters_
        ]
        return np.column_stack(columns)

    def refit_parameters(self) -> dict[str, Any]:
        """The number of trees that was best on val, on average over the labels."""
        stopped = [each.n_trees_ for each in self.boosters_ if not isinstance(each, float) and each.stopped_]
        return {"n_estimators": max(1, round(float(np.mean(stopped))))} if stopped else {}

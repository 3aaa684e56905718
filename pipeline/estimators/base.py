"""The head protocol: everything that a file of `pipeline/heads/` may define, and the functions that read it.

A file NAME.py defines `build(*, …)`, which returns a `Head`. The keywords of `build` are the parameters of an entry of
`heads:` in params.yaml: names, types and defaults are read from the signature without importing the file, so annotate
them with plain types (`Annotated[int, Ge(1)]` for bounds) and give each a default. Four names are special: `FilledIn`.

`build` usually returns `PreprocessedHead(estimator, scale=scale, pca=pca)`, so that features are scaled by train alone.
The estimator inside is scikit-learn's or your own. All of the following is optional for it:

- `predict_proba(X)` (n, k), or else `decision_function(X)` (n, k) or (n,): a classifier has one of the two, and
  `classes_`: the classes (k,) of the labels in `fit`. Without probabilities its file says `PROBABILITIES = False`.
- `fit(…, sample_weight=None)`: weights of items (n,). Heads without it are fitted unweighted.
- `fit(…, val=None)` with `refit_parameters()`: stops early by val, see `EarlyStoppingHead`.
- `PATH_PARAMETERS` with `fit_path`: fits many candidates in one go, see `PathHead`.
- `converged_`, or `n_iter_` with `max_iter`, or scikit-learn's ConvergenceWarning: whether an iterative fit came to its
  end, for the record.
- with `task="multilabel"`, labels and `predict` are (n, k) of 0 and 1, and each column of scores (n, k) is of a label
  by itself.
- `coef_` (m, d) with `intercept_` (m,), or `layers_` as in `heads/mlp.py`: a network can be unfrozen from this head.
- X may be a `DiskFeatures`, rows of a store too large for memory. An estimator that does not know it gets an array; the
  file of one that does says `STREAMS = True`, and then X is one wherever features are large.

Raise ValueError for data that a head can't be fitted on: the search passes that candidate over and says why.
`tests/contracts/test_heads.py` checks every file of the folder. The shortest example is `heads/gaussian_nb.py`.

Letters: n items, d features, k classes, m columns of coefficients: k, or 1 for two classes and for regressions.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, Self, TypedDict

import numpy as np

from icebox.features.manifest.validation import Task
from icebox.pipeline.catalog.class_vectors import ClassTexts
from icebox.pipeline.data.feature_selection import ColumnRanges
from icebox.pipeline.estimators.preprocessing import PreprocessedHead


class FilledIn(TypedDict, total=False):
    """Keywords of `build` that the fit stage fills in where the signature has them.

    `seed`: the head has randomness and is fitted under several seeds; without this keyword it is fitted once. A seed in
    params.yaml takes precedence. `task`: "classification", "regression", "multilabel" or "detection", of those that the
    annotation names; a head without this keyword is for classes only. `columns`: the columns of each stored output in
    the features, for a head that chooses among outputs.
    `class_texts`: the names of the classes, and the text tower of the store's backbone, for a head that begins from
    what they mean; None for tasks without classes, and for those of pictures.
    """

    seed: int
    task: Task
    columns: ColumnRanges | None
    class_texts: ClassTexts | None


Build = Callable[..., Any]  # keywords → Head


class Unsuitable(ValueError):
    """Data of a kind that the head is not made for, whatever its other settings: too many columns, another space.

    A store that no setting suits is passed over, where any other ValueError of all settings ends the stage.
    """


class Head(Protocol):
    """The estimator that `build` returns: scikit-learn's `fit` and `predict`, and `get_params` for `clone`."""

    def fit(self, X: Any, y: Any) -> Self:
        """Fit on features (n, d) float32 and labels (n,): class numbers, or a regression's values."""

    def predict(self, X: Any) -> np.ndarray:
        """Classes or values (n,)."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's arguments, by which scikit-learn clones an estimator."""


class EarlyStoppingHead(Head, Protocol):
    """An estimator that stops by its loss on val."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None, val: tuple[Any, Any] | None = None) -> Self:
        """Fit; `val` is (features, labels) of the items to stop by, or None to fit to the end."""

    def refit_parameters(self) -> dict[str, Any]:
        """The keywords of `build` with which a fit without val stops where this one did; {} where it had no val."""


class PathHead(Head, Protocol):
    """An estimator that fits many candidates in one go: a path of penalties, a grid of learning rates.

    Candidates that differ in no other parameters than `PATH_PARAMETERS` go together.
    """

    PATH_PARAMETERS: tuple[str, ...]

    def fit_path(
        self, X: Any, y: Any, candidates: Sequence[Mapping[str, Any]], sample_weight: Any = None
    ) -> Iterator[tuple[int, Self]]:
        """Yield (position in `candidates`, fitted estimator) of each in any order, as soon as it is ready.

        A candidate holds values of PATH_PARAMETERS; what it leaves out is as the estimator itself has it.
        """


def fit_keywords(head: Any) -> set[str]:
    """The keywords that the head's `fit` takes, of `sample_weight` and `val`."""
    return {"sample_weight", "val"} & set(inspect.signature(estimator_of(head).fit).parameters)


def path_parameters(head: Any) -> tuple[str, ...]:
    """The parameters of which the head fits many values in one go; () where it has no `fit_path`."""
    estimator = estimator_of(head)
    return estimator.PATH_PARAMETERS if hasattr(estimator, "fit_path") else ()


def refit_parameters(head: Any) -> dict[str, Any]:
    """The keywords of `build` with which a fit without val stops where this fitted head did; {} for most heads."""
    return head.refit_parameters() if hasattr(head, "refit_parameters") else {}


def estimator_of(head: Any) -> Any:
    """The estimator behind the preprocessing, where there is any."""
    return head.estimator if isinstance(head, PreprocessedHead) else head

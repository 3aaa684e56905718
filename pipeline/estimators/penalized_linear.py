"""Linear heads with an L2 penalty: a path of penalties in little more than the time of one fit.

L-BFGS walks in the coordinates in which the loss is round: along the features' principal directions, each stretched by
its variance and the penalty. The optimum stays what it was, the way there is shorter; the decomposition is made once
for all penalties, and each starts where the last ended.

Letters: n items, b of a block, d features, r directions, m columns (see `icebox.pipeline.estimators.base`).
"""

import warnings
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from scipy.optimize import minimize
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import _check_sample_weight

from icebox.pipeline.data.on_disk import validate_fit_data
from icebox.pipeline.estimators.base import LinearPath
from icebox.pipeline.estimators.covariance import Spectrum, blocks, spectrum


@dataclass(frozen=True)
class Start:
    """`targets` (n, m), in `unit`; `intercepts` (m,) to start from; about how curved the loss is in what is said."""

    targets: np.ndarray
    intercepts: np.ndarray
    curvature: float
    unit: float = 1.0


class Penalised(LinearPath):
    """The least of C × the weighted sum of losses + half the coefficients' sum of squares; the intercepts are free.

    `tolerance` bounds the largest entry of the gradient, of the mean loss, in the coordinates of the walk.
    """

    TOGETHER = ("C",)

    def __init__(self, *, C: float = 1.0, max_iter: int = 1000, tolerance: float = 3e-4) -> None:
        self.C = C
        self.max_iter = max_iter
        self.tolerance = tolerance

    @abstractmethod
    def _begin(self, y: np.ndarray, weights: np.ndarray) -> Start:
        """What is to be fitted to labels or values (n,), and from where."""

    @abstractmethod
    def _losses(self, said: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(losses (b,), their slopes in what is said (m, b)) of what is said (m, b) and targets (m, b)."""

    def fit_path(
        self, X: Any, y: Any, settings: Sequence[Mapping[str, Any]], sample_weight: Any = None
    ) -> Iterator[tuple[int, Self]]:
        """(position in `settings`, fitted head), from the strongest penalty on."""
        X, y = validate_fit_data(self, X, y)
        weights = _check_sample_weight(sample_weight, X, dtype=X.dtype, ensure_non_negative=True)
        begin = self._begin(y, weights)
        found = spectrum(X, weights)
        problem = Problem(self, X, begin.targets.astype(X.dtype), weights, found, begin.curvature)
        point = np.vstack([np.zeros((len(found.variances), len(begin.intercepts))), begin.intercepts])
        heads = [clone(self).set_params(**setting) for setting in settings]
        for position in sorted(range(len(heads)), key=lambda i: heads[i].C):
            head = heads[position]
            point, head.n_iter_, head.converged_ = problem.solve(point, head.C, head.max_iter, head.tolerance)
            coefficients, intercepts = (part * begin.unit for part in problem.plain(point))
            head.coef_, head.intercept_ = coefficients.T.astype(X.dtype), intercepts.astype(X.dtype)
            head.__dict__ |= {name: v for name, v in self.__dict__.items() if name.endswith("_")}  # n_features_in_ …
            if not head.converged_:
                warnings.warn(
                    f"{type(self).__name__}, C={head.C}: not converged after {head.n_iter_} iterations",
                    ConvergenceWarning,
                    stacklevel=2,
                )
            yield position, head


class Problem:
    """What there is to minimise. A point is (r + 1, m): coefficients along the directions, last the intercepts at the
    features' mean."""

    def __init__(
        self,
        head: Penalised,
        X: np.ndarray,
        targets: np.ndarray,
        weights: np.ndarray,
        directions: Spectrum,
        curvature: float,
    ) -> None:
        self.head, self.X, self.weights = head, X, weights
        self.targets = np.ascontiguousarray(targets.T)  # (m, n): sums over m are quick where m comes first
        self.spectrum, self.curvature = directions, curvature
        self.total = float(weights.sum(dtype=np.float64))

    def plain(self, point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients (d, m) of the features and intercepts (m,)."""
        coefficients = self.spectrum.directions @ point[:-1]
        return coefficients, point[-1] - self.spectrum.mean @ coefficients

    def solve(self, start: np.ndarray, C: float, max_iter: int, tolerance: float) -> tuple[np.ndarray, int, bool]:
        """(best point, iterations, whether they sufficed)."""
        penalty = 1 / (C * self.total)
        curvatures = np.append(self.curvature * self.spectrum.variances + penalty, self.curvature)
        stretch = 1 / np.sqrt(curvatures)[:, None]

        def stretched(flat: np.ndarray) -> tuple[float, np.ndarray]:
            loss, gradient = self.loss(flat.reshape(start.shape) * stretch, penalty)
            return loss, (gradient * stretch).ravel()

        options = {"maxiter": max_iter, "gtol": tolerance, "ftol": 64 * np.finfo(float).eps, "maxls": 50}
        found = minimize(stretched, (start / stretch).ravel(), jac=True, method="L-BFGS-B", options=options)
        return found.x.reshape(start.shape) * stretch, max(1, found.nit), bool(found.success)

    def loss(self, point: np.ndarray, penalty: float) -> tuple[float, np.ndarray]:
        """(mean loss with the penalty, its gradient at the point)."""
        coefficients, intercepts = (part.astype(self.X.dtype) for part in self.plain(point))
        loss, gradient, sums = 0.0, np.zeros(coefficients.T.shape), np.zeros(len(intercepts))
        for rows in blocks(len(self.X)):
            features, weights = self.X[rows], self.weights[rows]
            said = coefficients.T @ features.T + intercepts[:, None]
            losses, slopes = self.head._losses(said, self.targets[:, rows])
            slopes *= weights
            loss += float(np.dot(weights.astype(np.float64), losses))
            gradient += slopes @ features
            sums += slopes.sum(axis=1)
        along = self.spectrum.directions.T @ (gradient - np.outer(sums, self.spectrum.mean)).T / self.total
        whole = np.vstack([along + penalty * point[:-1], sums / self.total])
        return loss / self.total + penalty / 2 * float((point[:-1] ** 2).sum()), whole

"""Linear heads with an L2 penalty: a path of penalties in little more than the time of one fit.

L-BFGS walks in the coordinates in which the loss is round: along the features' principal directions, each stretched by
its variance and the penalty. The optimum stays what it was, the way there is shorter; the decomposition is made once
for all penalties, and each starts where the last ended.

Letters: n items, b of a block, d features, r directions, m columns (see `icebox.pipeline.estimators.linear`).
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

from icebox.pipeline.data.covariance import Eigendecomposition, eigendecompose, row_blocks
from icebox.pipeline.data.on_disk import DiskFeatures, validate_fit_data
from icebox.pipeline.estimators.linear import LinearPath


@dataclass(frozen=True)
class FitProblem:
    """The targets (n, m) of a fit, in multiples of `unit`; `intercepts` (m,) to start from; and about how curved the
    loss is as a function of the outputs."""

    targets: np.ndarray
    intercepts: np.ndarray
    curvature: float
    unit: float = 1.0


class PenalizedLinear(LinearPath):
    """The least of C × the weighted sum of losses + half the coefficients' sum of squares; the intercepts are free.

    `tol` bounds the largest entry of the gradient, of the mean loss, in the coordinates of the walk.
    """

    PATH_PARAMETERS = ("C",)

    def __init__(self, *, C: float = 1.0, max_iter: int = 1000, tol: float = 3e-4) -> None:
        self.C = C
        self.max_iter = max_iter
        self.tol = tol

    @abstractmethod
    def _problem(self, y: np.ndarray, weights: np.ndarray) -> FitProblem:
        """The targets and starting point for labels or values (n,) with weights (n,)."""

    @abstractmethod
    def _losses(self, outputs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(losses (b,), their derivatives by the outputs (m, b)) for outputs (m, b) and targets (m, b)."""

    def fit_path(
        self, X: Any, y: Any, candidates: Sequence[Mapping[str, Any]], sample_weight: Any = None
    ) -> Iterator[tuple[int, Self]]:
        """(position in `candidates`, fitted head), from the strongest penalty on."""
        X, y = validate_fit_data(self, X, y)
        X = X.kept() if isinstance(X, DiskFeatures) else X
        weights = _check_sample_weight(sample_weight, X, dtype=X.dtype, ensure_non_negative=True)
        problem = self._problem(y, weights)
        covariance = eigendecompose(X, weights)
        objective = Objective(self, X, problem.targets.astype(X.dtype), weights, covariance, problem.curvature)
        point = np.vstack([np.zeros((len(covariance.variances), len(problem.intercepts))), problem.intercepts])
        heads = [clone(self).set_params(**candidate) for candidate in candidates]
        for position in sorted(range(len(heads)), key=lambda i: heads[i].C):
            head = heads[position]
            point, head.n_iter_, head.converged_ = objective.minimize(point, head.C, head.max_iter, head.tol)
            coefficients, intercepts = (part * problem.unit for part in objective.coefficients(point))
            head.coef_, head.intercept_ = coefficients.T.astype(X.dtype), intercepts.astype(X.dtype)
            head.__dict__ |= {name: v for name, v in self.__dict__.items() if name.endswith("_")}  # n_features_in_ …
            if not head.converged_:
                warnings.warn(
                    f"{type(self).__name__}, C={head.C}: not converged after {head.n_iter_} iterations",
                    ConvergenceWarning,
                    stacklevel=2,
                )
            yield position, head


class Objective:
    """The penalized loss as a function of a point (r + 1, m): coefficients along the directions, last the intercepts at
    the features' mean."""

    def __init__(
        self,
        head: PenalizedLinear,
        X: np.ndarray,
        targets: np.ndarray,
        weights: np.ndarray,
        covariance: Eigendecomposition,
        curvature: float,
    ) -> None:
        self.head, self.X, self.weights = head, X, weights
        self.targets = np.ascontiguousarray(targets.T)  # (m, n): sums over m are quick where m comes first
        self.covariance, self.curvature = covariance, curvature
        self.total = float(weights.sum(dtype=np.float64))

    def coefficients(self, point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients (d, m) of the features and intercepts (m,)."""
        coefficients = self.covariance.directions @ point[:-1]
        return coefficients, point[-1] - self.covariance.mean @ coefficients

    def minimize(self, start: np.ndarray, C: float, max_iter: int, tol: float) -> tuple[np.ndarray, int, bool]:
        """(best point, iterations, whether they sufficed)."""
        penalty = 1 / (C * self.total)
        curvatures = np.append(self.curvature * self.covariance.variances + penalty, self.curvature)
        stretch = 1 / np.sqrt(curvatures)[:, None]

        def stretched_loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
            loss, gradient = self.loss(flat.reshape(start.shape) * stretch, penalty)
            return loss, (gradient * stretch).ravel()

        options = {"maxiter": max_iter, "gtol": tol, "ftol": 64 * np.finfo(float).eps, "maxls": 50}
        optimum = minimize(stretched_loss, (start / stretch).ravel(), jac=True, method="L-BFGS-B", options=options)
        return optimum.x.reshape(start.shape) * stretch, max(1, optimum.nit), bool(optimum.success)

    def loss(self, point: np.ndarray, penalty: float) -> tuple[float, np.ndarray]:
        """(mean loss with the penalty, its gradient at the point)."""
        coefficients, intercepts = (part.astype(self.X.dtype) for part in self.coefficients(point))
        loss, gradient, sums = 0.0, np.zeros(coefficients.T.shape), np.zeros(len(intercepts))
        for rows in row_blocks(len(self.X)):
            features, weights = self.X[rows], self.weights[rows]
            outputs = coefficients.T @ features.T + intercepts[:, None]
            losses, slopes = self.head._losses(outputs, self.targets[:, rows])
            slopes *= weights
            loss += float(np.dot(weights.astype(np.float64), losses))
            gradient += slopes @ features
            sums += slopes.sum(axis=1)
        along = self.covariance.directions.T @ (gradient - np.outer(sums, self.covariance.mean)).T / self.total
        full_gradient = np.vstack([along + penalty * point[:-1], sums / self.total])
        return loss / self.total + penalty / 2 * float((point[:-1] ** 2).sum()), full_gradient

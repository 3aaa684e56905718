"""Heads against their peers: a path of penalties, boosted trees, a grid of probes: python -m benchmarks.heads [WHAT …]

WHAT: logreg, logreg-folds, lightgbm, probe; by default all but logreg-folds. 50,000 × 512 features in float32 from a
seed, 10 classes, and 10,000 more items to test on. One thread, of which the seconds of the processor count: they depend
little on other work. Contestants take turns; ratio: theirs by ours, median of rounds.
"""

import sys
import time
import warnings
from collections.abc import Callable

import numpy as np
from threadpoolctl import threadpool_limits

from icebox.pipeline.fitting import path_fitting
from icebox.pipeline.heads import lightgbm, linear_probe, logreg

ITEMS, TEST_ITEMS, FEATURES, CLASSES = 50_000, 10_000, 512, 10
PENALTIES = np.logspace(-4, 4, 10).tolist()  # as scikit-learn's LogisticRegressionCV draws them
Fit = Callable[[], object]


def synthetic(n: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, d) float32 like a network's: never negative, correlated, of different sizes; and classes (n,), of
    three clusters each, which no head separates."""
    random = np.random.default_rng(seed)
    latent = 48
    y = random.integers(0, CLASSES, n)
    centres = random.normal(size=(CLASSES * 3, latent)) * 0.75
    hidden = centres[y * 3 + random.integers(0, 3, n)] + random.normal(size=(n, latent))
    mixing = random.normal(size=(latent, FEATURES)) * np.exp(-np.arange(latent) / 24)[:, None]
    noise = random.normal(size=(n, FEATURES)) * 0.5 + random.normal(size=FEATURES)
    X = np.maximum(hidden @ mixing * 0.6 + noise, 0) * np.exp(random.normal(size=FEATURES) * 0.7)
    return X.astype(np.float16).astype(np.float32), y


def race(names: tuple[str, str], fits: tuple[Fit, Fit], rounds: int, accuracy: Callable[[object], float]) -> None:
    """Print both contestants' seconds and accuracy, round by round, and the median of the rounds' ratios."""
    ratios = []
    for _ in range(rounds):
        took_s = []
        for name, fit in zip(names, fits, strict=True):
            started_s = time.process_time()
            head = fit()
            took_s.append(time.process_time() - started_s)
            print(f"  {name}: {took_s[-1]:.1f} s, accuracy {accuracy(head):.4f}", flush=True)
        ratios.append(took_s[0] / took_s[1])
    print(f"{names[0]} / {names[1]}: {np.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f}, {rounds} rounds)")


def race_logreg(data: tuple[np.ndarray, ...], rounds: int, *, folds: int) -> None:
    """Ten values of C: GridSearchCV in its defaults on float64 against our path, on the same splits, both refitted."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, ShuffleSplit, StratifiedKFold

    X, y, X_test, y_test = data
    X64 = X.astype(np.float64)
    cv = StratifiedKFold(folds) if folds > 1 else ShuffleSplit(1, test_size=0.2, random_state=0)
    splits = list(cv.split(X, y))

    def theirs() -> object:
        return GridSearchCV(LogisticRegression(), {"C": PENALTIES}, cv=splits).fit(X64, y)

    def ours() -> object:
        settings = [{"C": C} for C in PENALTIES]
        scores = np.zeros((len(splits), len(settings)))
        for fold, (train, val) in enumerate(splits):
            for position, head, _ in path_fitting.fit(logreg.build, settings, X[train], y[train]):
                scores[fold, position] = head.score(X[val], y[val])
        return logreg.build(**settings[int(scores.mean(axis=0).argmax())]).fit(X, y)

    race(("GridSearchCV", "our path"), (theirs, ours), rounds, lambda head: head.score(X_test, y_test))


def race_lightgbm(data: tuple[np.ndarray, ...], rounds: int) -> None:
    """As many trees, LightGBM's defaults against ours."""
    from lightgbm import LGBMClassifier

    X, y, X_test, y_test = data

    def theirs() -> object:
        return LGBMClassifier(n_jobs=1, verbose=-1).fit(X, y)

    race(
        ("LightGBM's defaults", "ours"),
        (theirs, lambda: lightgbm.build(n_estimators=100).fit(X, y)),
        rounds,
        lambda head: float(np.mean(head.predict(X_test) == y_test)),
    )


def race_probe(data: tuple[np.ndarray, ...], rounds: int) -> None:
    """24 settings in one pass against one of them."""
    X, y, X_test, y_test = data
    rates, decays = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1), (0.0, 1e-5, 1e-4, 1e-3)
    settings = [{"learning_rate": rate, "weight_decay": decay} for rate in rates for decay in decays]

    def fitted(chosen: list[dict[str, float]]) -> list[object]:
        return [head for _, head, _ in path_fitting.fit(linear_probe.build, chosen, X, y)]

    race(
        ("24 settings", "one"),
        (lambda: fitted(settings), lambda: fitted(settings[14:15])),
        rounds,
        lambda heads: max(head.score(X_test, y_test) for head in heads),
    )


def main(*chosen: str) -> None:
    """Run the races named, or all."""
    warnings.simplefilter("ignore")  # scikit-learn's stops at its limit of iterations, and says so each time
    X, y = synthetic(ITEMS + TEST_ITEMS)
    data = X[:ITEMS], y[:ITEMS], X[ITEMS:], y[ITEMS:]
    with threadpool_limits(1):
        for what in chosen or ("logreg", "lightgbm", "probe"):
            print(what)
            match what:
                case "logreg":
                    race_logreg(data, 5, folds=1)
                case "logreg-folds":
                    race_logreg(data, 1, folds=5)
                case "lightgbm":
                    race_lightgbm(data, 5)
                case "probe":
                    race_probe(data, 5)


if __name__ == "__main__":
    main(*sys.argv[1:])

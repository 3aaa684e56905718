"""Alignment of val and the test sets to train by their unlabeled features, and what it assumes of the classes' shares.

Each set is moved as a whole, so that scores are transductive: an item's answer hangs on the set that it came with. They
stand beside those of the same head without alignment.

Letters: n items, k classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from icebox.features.errors import IceboxError
from icebox.pipeline.config.fit import Fit
from icebox.pipeline.data.class_weights import SampleWeighter
from icebox.pipeline.data.labelled import LabelledData, LabelledSplit
from icebox.pipeline.data.on_disk import DiskFeatures
from icebox.pipeline.estimators import alignment
from icebox.pipeline.estimators.alignment import AlignedHead, Statistics
from icebox.pipeline.evaluation import class_shares
from icebox.pipeline.evaluation.class_shares import AnsweredItems
from icebox.pipeline.evaluation.predictions import ScoredSplit, score_head
from icebox.pipeline.fitting.final_fit import FitResult, SeedResult

BESIDE = "-unadapted"  # of the name of a test's scores without alignment
TEST = "test"  # whose statistics a bundle keeps
ROUNDS_MAX = 100  # of alignment and estimated shares in turn; of CORAL one, which takes seconds
ENOUGH = 1e-4  # a change of shares that ends them


@dataclass(frozen=True)
class Target:
    """The shares (k,) of the classes in an aligned set: as assumed and, where anything estimates them, as estimated.

    `differs`: the numbers of the classes whose share is not that of train, by more than chance."""

    assumed: np.ndarray
    estimated: np.ndarray | None = None
    differs: Sequence[int] = ()


@dataclass(frozen=True)
class Adaptation:
    """The sets of a dataset as they are (`raw`) and as heads are fitted and scored on them (`data`), which is the same
    where `fit` asks for no alignment."""

    raw: LabelledData
    fit: Fit
    views: int
    sample_weighter: SampleWeighter

    @property
    def is_on(self) -> bool:
        """Whether anything is aligned."""
        return self.fit.adapt != "none"

    @cached_property
    def own(self) -> LabelledSplit:
        """Train's items in their first view, the one that other sets have."""
        return self.raw.train.take(np.arange(len(self.raw.train) // self.views))

    @cached_property
    def of_train(self) -> np.ndarray:
        """The shares of train's classes (k,), a group counted once; none of a regression."""
        if not self.raw.classes:
            return np.empty(0)
        weights = alignment.unit_weights(self.own.groups)
        return class_shares.shares_of(self.own.labels, weights, len(self.raw.classes))

    @cached_property
    def targets(self) -> dict[str, Statistics]:
        """The statistics of val and of the test sets, by their unlabeled features."""
        return {name: self.measured(name, split) for name, split in self.raw.splits.items() if name != "train"}

    @cached_property
    def data(self) -> LabelledData:
        """The sets as heads see them: train as it is, all others aligned to it."""
        if not self.is_on:
            return self.raw
        splits = {
            name: split if name == "train" else self.aligned(name, self.source)
            for name, split in self.raw.splits.items()
        }
        return replace(self.raw, splits=splits)

    def measured(self, name: str, split: LabelledSplit) -> Statistics:
        """The statistics of a set. Raises IceboxError for one of few items, and for features that stay on disk."""
        assert self.fit.adapt != "none"
        alignment.require_units(self.fit.adapt, split.groups, f"adapt: {name}")
        return alignment.measure(self.fit.adapt, in_memory(split.features), alignment.unit_weights(split.groups))

    @cached_property
    def source(self) -> Statistics:
        """The statistics of train."""
        assert self.fit.adapt != "none"
        return alignment.measure(self.fit.adapt, in_memory(self.own.features), alignment.unit_weights(self.own.groups))

    @cached_property
    def by_class(self) -> tuple[np.ndarray, np.ndarray]:
        """The means and variances of train's classes, (k, d) each."""
        weights, features = alignment.unit_weights(self.own.groups), in_memory(self.own.features)
        rows = [self.own.labels == number for number in range(len(self.raw.classes))]
        measured = [alignment.measure("standardize", features[each], weights[each]) for each in rows]
        return np.stack([each.mean for each in measured]), np.stack([each.spread for each in measured]) ** 2

    def source_at(self, shares: np.ndarray) -> Statistics:
        """The statistics that train would have with these shares of its classes (k,), for standardizing."""
        if shares is self.of_train:
            return self.source
        means, variances = self.by_class
        mean = shares @ means
        return Statistics(mean, np.sqrt(shares @ (variances + (means - mean) ** 2)))

    def aligned(self, name: str, source: Statistics) -> LabelledSplit:
        """A set with the mean and spread of `source`."""
        split = self.raw.splits[name]
        return replace(split, features=alignment.align(in_memory(split.features), source, self.targets[name]))

    def corrected(self, result: FitResult) -> FitResult:
        """The result with its tests scored at the shares that they seem to have, where `fit.shares` says so."""
        if not self.is_on or self.fit.shares == "train":
            return result
        return replace(result, seeds=[self.corrected_seed(seed) for seed in result.seeds])

    def corrected_seed(self, seed: SeedResult) -> SeedResult:
        """One seed's result at these shares."""
        tests = {
            name: score_head(seed.fitted.head, self.aligned(name, self.source_for(seed.fitted.head, name)), self.raw)
            for name in seed.tests
        }
        return replace(seed, tests=tests)

    def source_for(self, head: Any, name: str) -> Statistics:
        """The statistics of train at the shares of a test set that a head's answers speak for."""
        if self.fit.shares == "train":
            return self.source
        shares = self.settled_shares(head, name)
        return self.source if shares is None else self.source_at(shares)

    def settled_shares(self, head: Any, name: str) -> np.ndarray | None:
        """The shares (k,) that are estimated where they are assumed: aligned and estimated in turn; None where nothing
        estimates them."""
        if self.by == "em" and not hasattr(head, "predict_proba"):
            return None
        val, shares = self.answers_for_val(head), self.of_train
        for _ in range(ROUNDS_MAX if self.fit.adapt == "standardize" else 1):
            answers = self.answers_for(head, self.aligned(name, self.source_at(shares)))
            before, shares = shares, class_shares.estimate(answers, val, self.prior)
            if np.abs(shares - before).max() < ENOUGH:
                break
        return shares

    @property
    def by(self) -> str:
        """The estimator of shares: `fit.shares` or, where it assumes those of train, confusions on a val that the head
        has not seen, else expectation."""
        if self.fit.shares != "train":
            return self.fit.shares
        return "bbse" if self.data.val is not None and self.fit.refit == "train" else "em"

    def answers_for(self, head: Any, split: LabelledSplit) -> AnsweredItems:
        """A head's answers for an aligned set."""
        answers = score_head(head, split, self.raw).predictions
        k = len(self.raw.classes)
        return AnsweredItems(
            answers.scores if answers.has_probabilities else np.eye(k)[answers.predicted], numbered(split.groups)
        )

    def answers_for_val(self, head: Any) -> AnsweredItems | None:
        """A head's answers for val and its labels; None where these do not estimate."""
        val = self.data.val
        return None if val is None or self.by == "em" else self.answers_for(head, val)._replace(labels=val.labels)

    @cached_property
    def prior(self) -> np.ndarray:
        """The shares of the classes (k,) that a head's probabilities take for granted: of train under class weights or,
        where they were calibrated, of val."""
        split = self.raw.val if self.fit.calibrate != "none" and self.raw.val is not None else self.raw.train
        weights = self.sample_weighter(split.labels) if split is self.raw.train else None
        counts = np.bincount(split.labels, weights, minlength=len(self.raw.classes))
        shares: np.ndarray = counts / counts.sum()
        return shares

    def target(self, head: Any, name: str) -> Target:
        """A test set's shares of the classes, as a head's answers speak for them."""
        settled = self.settled_shares(head, name)
        if settled is None:
            return Target(self.of_train)
        return Target(self.of_train if self.fit.shares == "train" else settled, settled, self.differing(head, name))

    def differing(self, head: Any, name: str) -> list[int]:
        """The numbers of the classes whose share of a test set is not that of train, by more than chance.

        Judged where train's shares are assumed: if they hold, an estimate is as far from them as chance has it.
        """
        answers = self.answers_for(head, self.aligned(name, self.source))
        ends = class_shares.interval(answers, self.answers_for_val(head), self.prior)
        return [] if ends is None else np.flatnonzero((self.of_train < ends[0]) | (self.of_train > ends[1])).tolist()

    def unadapted_tests(self, head: Any) -> dict[str, ScoredSplit]:
        """Scores of each test by this head without alignment, as NAME-unadapted; none where nothing is aligned.

        Raises IceboxError where the dataset has a split of that name.
        """
        if not self.is_on:
            return {}
        beside = {f"{name}{BESIDE}": split for name, split in self.raw.tests.items()}
        for name in beside.keys() & self.raw.tests.keys():
            raise IceboxError(f"split {name}: this name is kept for scores without `adapt`; give it another")
        return {name: score_head(head, split, self.raw) for name, split in beside.items()}

    def head(self, head: Any) -> Any:
        """The fitted head as it takes features that are not aligned: for one item of test's kind at a time."""
        if self.fit.adapt == "none":
            return head
        return AlignedHead(head, self.fit.adapt, self.source_for(head, TEST), self.targets[TEST])

    def details(self, head: Any) -> dict[str, Any]:
        """How sets were aligned, and the shares of their classes, for the report."""
        if not self.is_on:
            return {}
        classes = self.raw.classes
        targets = {name: as_json(self.target(head, name), classes) for name in self.raw.tests} if classes else {}
        known = {"method": self.fit.adapt, "shares": self.fit.shares, "train": by_class(self.of_train, classes)}
        return {"adapt": {**known, "estimated_by": self.by, "targets": targets}}


def in_memory(features: np.ndarray | DiskFeatures) -> np.ndarray:
    """Features (n, d). Raises IceboxError for those that stay on disk."""
    if isinstance(features, DiskFeatures):
        raise IceboxError("adapt: needs all features in memory, where they don't fit; leave it out")
    return features


def as_json(target: Target, classes: Sequence[str]) -> dict[str, Any]:
    """A target's shares by class."""
    return {
        "assumed": by_class(target.assumed, classes),
        "estimated": None if target.estimated is None else by_class(target.estimated, classes),
        "differs": [classes[i] for i in target.differs],
    }


def by_class(values: np.ndarray, classes: Sequence[str]) -> dict[str, float]:
    """Values (k,) to four digits, by the classes' names."""
    return {name: round(float(value), 4) for name, value in zip(classes, values, strict=True)}


def numbered(groups: np.ndarray) -> np.ndarray:
    """The number (n,) of each item's group, from 0."""
    numbers: np.ndarray = np.unique(groups, return_inverse=True)[1]
    return numbers

"""Whether new items come from where a head's train does: a two-sample test of their features against train's."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from threadpoolctl import threadpool_limits

from icebox.features.errors import IceboxError
from icebox.features.joining.joined_store import open_store
from icebox.pipeline.data import labelled, two_sample
from icebox.pipeline.data.feature_selection import FeatureSelection
from icebox.pipeline.data.two_sample import Separation
from icebox.pipeline.inference.bundle import Bundle
from icebox.pipeline.inference.reading.new_items import Batch
from icebox.pipeline.project import paths

logger = logging.getLogger("icebox")


@dataclass
class Newcomers:
    """The first items that were predicted: their features and groups, to be compared with train's."""

    features: list[np.ndarray] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)

    def watch(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The batches, of which the first are kept."""
        for batch in batches:
            if len(self.groups) < two_sample.ITEMS_MAX and batch.features.ndim == 2:  # not of maps
                self.features.append(batch.features)
                self.groups += [item.group or f"\0{len(self.groups) + i}" for i, item in enumerate(batch.items)]
            yield batch

    def report(self, opened: Bundle) -> None:
        """Log how far the items lie from train: a warning where that is no chance.

        Of few items, and where the store is not here or another than the head's, nothing is said.
        """
        if (result := self.separation(opened)) is not None:
            level = logging.WARNING if result.is_certain else logging.INFO
            logger.log(level, "%s", result.sentence("The new data"))

    def separation(self, opened: Bundle) -> Separation | None:
        """How well the items are told from train; None where that can't be said."""
        if len(set(self.groups)) < two_sample.UNITS_MIN:
            return None
        try:
            store = open_store(paths.store(opened.store))
        except IceboxError:
            return None  # a head may be used without its store
        if store.fingerprint != opened.fingerprint or not len(store.items("train")):
            return None
        items = store.items("train")
        if len(items) > two_sample.ITEMS_MAX:
            items = np.sort(np.random.default_rng(0).choice(items, two_sample.ITEMS_MAX, replace=False))
        selection = FeatureSelection(tuple(opened.head_outputs or opened.outputs), (opened.view,))
        train = selection.load(store, items, every_view=False)
        with threadpool_limits(1):
            return two_sample.separation(
                train, np.concatenate(self.features), labelled.item_groups(store)[items], self.groups
            )

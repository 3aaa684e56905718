"""Features of new items: prepared as each network takes them, encoded, and laid side by side as the head was fitted."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from typing import Any

import numpy as np

from icebox.features.abc.backbone import Backbone
from icebox.features.abc.dataset import Content, Pair
from icebox.features.errors import IceboxError, ItemError
from icebox.features.extraction.precision import to_storage_dtype
from icebox.features.extraction.views import prepare
from icebox.features.ragged import flat
from icebox.features.text.pairs import PAIR, TEXTS, combine_pairs
from icebox.pipeline.inference.bundle import Bundle
from icebox.pipeline.inference.reading.joined_reading import JoinedContent
from icebox.pipeline.inference.reading.new_items import Batch, NewItem

BATCH_SIZE = 64

Network = Backbone | Sequence[Backbone]
Unreadable = Callable[[NewItem, IceboxError], None]  # called with an item that can't be read


def parts_of(opened: Bundle) -> Sequence[Bundle]:
    """The bundles that say how each part of the features is made: of a joined store its members'."""
    return opened.members or [opened]


def batches(opened: Bundle, backbone: Network, items: Iterator[NewItem], unreadable: Unreadable) -> Iterator[Batch]:
    """Items with their features in the form in which the head was fitted on them, BATCH_SIZE at a time.

    `backbone` is a list of a joined store's, whose features stand side by side. `unreadable` is called with each item
    that can't be read, or gives features that are no numbers.
    """
    networks = [backbone] if isinstance(backbone, Backbone) else backbone

    def read_and_prepared() -> Iterator[tuple[NewItem, Content, list[list[Any]]]]:
        for item in items:
            try:
                content = item.read()
                contents = content.parts if isinstance(content, JoinedContent) else [content] * len(networks)
                yield item, contents[0], prepare_item(opened, networks, contents)
            except IceboxError as error:
                unreadable(item, error)

    queue = read_and_prepared()
    with ExitStack() as passes:
        is_first = True
        while batch := list(islice(queue, BATCH_SIZE)):
            if is_first and len(batch) == BATCH_SIZE:  # for a few items, replicas would cost more than they save
                for network in networks:
                    passes.enter_context(network.side_by_side())
            is_first = False
            features = features_side_by_side(opened, networks, [prepared for _, _, prepared in batch])
            finite = np.isfinite(features).all(axis=1)
            for (item, _, _), sound in zip(batch, finite, strict=True):
                if not sound:
                    families = " or ".join(network.spec["family"] for network in networks)
                    unreadable(item, ItemError(f"{families} gave a feature that is no finite number"))
            read = [(item, content) for (item, content, _), sound in zip(batch, finite, strict=True) if sound]
            if read:
                shown = [show(content, item) for item, content in read]
                yield Batch([item for item, _ in read], shown, [content for _, content in read], features[finite])


def prepare_item(opened: Bundle, networks: Sequence[Backbone], contents: Sequence[Content]) -> list[list[Any]]:
    """An item's content as each network takes it: for each part of the features, in each of its views.

    Raises ItemError for content that can't be read.
    """
    return [
        [prepare(network, content, view) for view in views_of(part)]
        for part, network, content in zip(parts_of(opened), networks, contents, strict=True)
    ]


def features_side_by_side(
    opened: Bundle, networks: Sequence[Backbone], prepared: Sequence[list[list[Any]]]
) -> np.ndarray:
    """Features (b, d) float32 of items that `prepare_item` prepared: those of each network side by side."""
    sides = [
        features_of(part, network, [ready[i] for ready in prepared])
        for i, (part, network) in enumerate(zip(parts_of(opened), networks, strict=True))
    ]
    return sides[0] if len(sides) == 1 else np.concatenate(sides, axis=1)


def views_of(opened: Bundle) -> tuple[str, ...]:
    """The views of an item that the features are made of."""
    return TEXTS if opened.view == PAIR else (opened.view,)


def features_of(opened: Bundle, backbone: Backbone, prepared: Sequence[list[Any]]) -> np.ndarray:
    """Features (b, d) float32 of items that were prepared in each of `views_of`."""
    by_view = [encode(backbone, [ready[i] for ready in prepared], opened) for i in range(len(views_of(opened)))]
    return combine_pairs(*by_view) if opened.view == PAIR else by_view[0]


def encode(backbone: Backbone, prepared: Sequence[Any], opened: Bundle) -> np.ndarray:
    """Features (b, d) float32 of prepared items: rounded to the store's number format, outputs side by side."""
    features = backbone.encode(prepared)
    parts = [flat(features[output]).reshape(len(prepared), -1) for output in opened.head_outputs or opened.outputs]
    return np.concatenate([to_storage_dtype(each, opened.stored).astype(np.float32) for each in parts], axis=1)


def show(content: Content, item: NewItem) -> str:
    """A text itself, or two with a tab between; of any other item its place."""
    match content:
        case str():
            return content
        case Pair(first, second):
            return f"{first}\t{second}"
    return item.place

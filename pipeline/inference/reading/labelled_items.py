"""New items with labels, by which a head is scored."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from icebox.features import label_sets
from icebox.features.errors import IceboxError, located, suggestion
from icebox.features.manifest.validation import require_set, require_target
from icebox.features.names import canonical_name
from icebox.features.splits import in_order
from icebox.pipeline.inference.bundle import Bundle
from icebox.pipeline.inference.reading.new_items import NewItem

UnknownLabels = Literal["fail", "wrong", "skip"]


@dataclass
class LabelledItems:
    """Items of one split, their labels as the head's classes; labels that it does not know are dealt with as told."""

    opened: Bundle
    split: str | None
    unknown_labels: UnknownLabels
    unknown: Counter[str] = field(default_factory=Counter)

    def of(self, items: Iterator[NewItem]) -> Iterator[NewItem]:
        """The items that are scored. Raises IceboxError for a label that is none, and for several splits."""
        by_name = {canonical_name(name): name for name in self.opened.classes}
        splits: dict[str, None] = {}
        for item in items:
            splits[item.split] = None
            if self.split is not None and item.split != self.split:
                continue
            if self.split is None and len(splits) > 1:
                raise IceboxError(
                    f"expected items of one split, found {', '.join(in_order(splits))}; name one: --split test"
                )
            if self.opened.task == "multilabel":
                yield from self.with_known_names(item, by_name)
            elif self.opened.task == "regression":
                with located(item.place):
                    require_target(item.label)
                yield item
            elif (known := by_name.get(canonical_name(item.label))) is not None:
                yield replace(item, label=known)
            else:
                self.note_unknown(item)
                if self.unknown_labels == "wrong":
                    yield item
        if self.split is not None and self.split not in splits:
            raise IceboxError(f"--split {self.split}: no such items; splits: {', '.join(in_order(splits)) or 'none'}")

    def with_known_names(self, item: NewItem, by_name: Mapping[str, str]) -> Iterator[NewItem]:
        """An item with a set of labels, if it is scored: by those that the head knows, where that is allowed."""
        with located(item.place):
            require_set(item.label)
        names = label_sets.split(item.label)
        unknown = [name for name in names if canonical_name(name) not in by_name]
        for name in unknown:
            self.note_unknown(replace(item, label=name))
        if not unknown or self.unknown_labels == "wrong":
            known = label_sets.join(by_name[name] for name in map(canonical_name, names) if name in by_name)
            yield replace(item, label=known)

    def note_unknown(self, item: NewItem) -> None:
        """Count a label that the head does not know. Raises IceboxError where that is an error."""
        if self.unknown_labels == "fail":
            raise IceboxError(
                f"{item.place}: its label '{item.label}' is no class of the head "
                f"({suggestion(item.label, self.opened.classes)}); correct it, or count such items as wrong answers "
                "(--unknown-labels wrong), or leave them out (--unknown-labels skip)"
            )
        self.unknown[item.label] += 1

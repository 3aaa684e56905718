"""A dataset's items as a pretraining takes them: contents and labels of one split, as the manifest has them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from features.datasets.base import Content, Modality
from features.errors import IceboxError
from features.manifest import Row
from features.views import Read, content_of


@dataclass(frozen=True)
class Examples:
    """The manifest's rows and how to read their contents; `name` is the dataset's in params.yaml."""

    name: str
    modality: Modality
    rows: Sequence[Row]
    read: Read

    def of(self, split: str) -> list[Row]:
        """The rows of one split, in manifest order. Raises IceboxError where there are none."""
        rows = [row for row in self.rows if row.split == split]
        if not rows:
            raise IceboxError(f"dataset '{self.name}': expected items in {split}, found none; give it a {split} split")
        return rows

    def contents(self, split: str) -> Iterator[Content]:
        """Their contents; raises IceboxError for one that is no longer the manifest's."""
        return (content_of(row, self.read) for row in self.of(split))

    def labels(self, split: str) -> list[str]:
        """Their labels."""
        return [row.label for row in self.of(split)]

    def expect(self, modality: Modality, family: str) -> None:
        """Raise IceboxError unless the dataset holds what the family trains on."""
        if self.modality != modality:
            raise IceboxError(
                f"data: {family} trains on {modality}s, dataset '{self.name}' holds {self.modality}s; name another"
            )

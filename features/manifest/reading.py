"""Read the contents of a manifest's items again, and give a pretraining those of one split."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from icebox.features import fingerprint
from icebox.features.abc.dataset import Content, Modality
from icebox.features.errors import IceboxError
from icebox.features.manifest.manifest import ManifestRow

Read = Callable[[str], Content]


def content_of(row: ManifestRow, read: Read) -> Content:
    """Read a row's content. Raises IceboxError where it is gone, or no longer the one in the manifest."""
    try:
        content = read(row.source)
    except OSError as reason:
        raise IceboxError(
            f"item '{row.item_id}': can't be read any more ({reason})", hint="make the manifest again"
        ) from reason
    if fingerprint.of_content(content) != row.item_key:
        raise IceboxError(
            f"item '{row.item_id}': its content is not what it was when the manifest was made",
            hint="make the manifest again",
        )
    return content


@dataclass(frozen=True)
class Examples:
    """A dataset for pretraining: its manifest's rows, and `read`, which reads a row's content from its `source`.

    `name` is the dataset's, for errors.
    """

    name: str
    modality: Modality
    rows: Sequence[ManifestRow]
    read: Read

    def rows_of(self, split: str) -> list[ManifestRow]:
        """The rows of one split, in manifest order. Raises IceboxError where there are none."""
        rows = [row for row in self.rows if row.split == split]
        if not rows:
            raise IceboxError(f"dataset '{self.name}': expected items in {split}, found none; give it a {split} split")
        return rows

    def contents(self, split: str) -> Iterator[Content]:
        """Contents of one split's items. Raises IceboxError for one that is no longer the manifest's."""
        return (content_of(row, self.read) for row in self.rows_of(split))

    def labels(self, split: str) -> list[str]:
        """Labels of one split's items."""
        return [row.label for row in self.rows_of(split)]

    def expect(self, modality: Modality, family: str) -> None:
        """Raise IceboxError unless the dataset has the modality that the family trains on."""
        if self.modality != modality:
            raise IceboxError(
                f"data: {family} trains on {modality}s, dataset '{self.name}' holds {self.modality}s; name another"
            )

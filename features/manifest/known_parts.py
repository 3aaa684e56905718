"""A record of this machine: the items of a dataset's parts as they were listed last, so that a manifest that is made
again lists those that are new or changed.

A record a part, named by a hash of all that determines its items: the code, its settings, the states of its files as
`known_contents` compares them. Its name is its key too, so that another's under its name costs a listing.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from icebox.features import files, fingerprint, records
from icebox.features.abc.dataset import Item, Part
from icebox.features.errors import IceboxError
from icebox.features.manifest import tables
from icebox.features.manifest.known_contents import FileStates

if TYPE_CHECKING:
    import pyarrow as pa


class Lister(Protocol):
    """Makes columns of items; `doubts` counts what came up that the columns do not tell."""

    @property
    def doubts(self) -> int:
        """The number so far."""

    def columns(self, items: Iterable[Item]) -> Iterator[tables.Columns]:
        """The items, a block at a time."""

    def add_known(self, rows: int) -> None:
        """Count rows that are not listed again."""


@dataclass(frozen=True)
class KnownParts:
    """The records in a folder. `identity` is a hash of all but settings and files that determines a listing: the code
    of the source and of what lists it, and the task."""

    folder: Path
    identity: str

    def columns(self, parts: Sequence[Part], listing: Lister) -> Iterator[tables.Columns]:
        """The columns of all parts, a block at a time. What is listed now is recorded, unless a doubt came up.

        One of the recorded parts is listed all the same: where it is another now, so are all.
        """
        names = [self.name(part) for part in parts]
        if repeated := [name for name, count in Counter(filter(None, names)).items() if count > 1]:
            settings = parts[names.index(repeated[0])].settings
            raise IceboxError(f"datasets: expected parts that differ in settings or files, found two of {settings}")
        known = self.recorded().intersection(names)
        again: dict[str, pa.Table] = {}
        if known:
            checked = min(known)
            before = self.read(checked)
            again[checked] = self.listed(parts[names.index(checked)], checked, listing)
            if before is None or not again[checked].equals(before):
                known = set()
        for part, name in zip(parts, names, strict=True):
            if name in again:
                table = again[name]
            elif name in known and (record := self.read(name)) is not None:
                table = record
                listing.add_known(table.num_rows)
            else:
                table = self.listed(part, name, listing)
            if table.num_rows:
                yield {name: tables.joined(table.column(name).chunks) for name in table.column_names}
        for name in self.recorded() - set(names):
            files.remove(self.folder / name)

    def name(self, part: Part) -> str:
        """The name of a part's record; "" where it can't be known again, as while its files are being written."""
        paths = {str(path): path for path in part.paths}
        states = FileStates.of([*paths], paths.get)
        if not states.certain.all():
            return ""
        return fingerprint.of_settings([self.identity, part.settings, states.values.tolist()])

    def recorded(self) -> set[str]:
        """The names of all records."""
        with suppress(OSError):
            return {path.name for path in self.folder.iterdir() if not path.name.startswith(files.TEMPORARY)}
        return set()

    def listed(self, part: Part, name: str, listing: Lister) -> "pa.Table":
        """A part's items, listed now and recorded."""
        doubts = listing.doubts
        table = tables.of_columns(listing.columns(part.items()))
        if name and listing.doubts == doubts:
            self.write(name, table)
        return table

    def read(self, name: str) -> "pa.Table | None":
        """The table in a record; None where it is not what was written."""
        import pyarrow as pa

        content = records.read(self.folder / name, name.encode())
        if content is None:
            return None
        with pa.ipc.open_stream(pa.py_buffer(content)) as stream:
            return stream.read_all()

    def write(self, name: str, table: "pa.Table") -> None:
        """Record a table."""
        import pyarrow as pa

        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
        records.write(self.folder / name, name.encode(), memoryview(sink.getvalue()))

"""Rows that are left out for their label: `drop_labels`, compared by the normal form of names."""

import difflib
from collections.abc import Sequence

from icebox.features.abc.account import Account
from icebox.features.errors import IceboxError
from icebox.features.names import LEADING_ZEROS, canonical_name, in_line

LISTED = 10  # labels in an error


class DroppedLabels:
    """The entries of `drop_labels`, and which labels there were. An entry 1 is the label 1, 1.0 or "1", never "01"."""

    def __init__(self, entries: Sequence[str | int]) -> None:
        self._entries = {canonical_name(str(entry)): entry for entry in entries}
        self._numbers = {entry for entry in entries if isinstance(entry, int)}
        self._met: dict[str, bool] = {}  # {label: whether it is dropped} for all rows, in their order

    def drops(self, label: str) -> bool:
        """Whether rows of this label are left out.

        Raises IceboxError for a label with leading zeros where the entry is the bare number that they would make.
        """
        if not self._entries:
            return False
        if label not in self._met:
            number = int(label) if LEADING_ZEROS.fullmatch(label) else None
            if number in self._numbers:
                raise IceboxError(
                    f"datasets: drop_labels: {number} is written as a number, which has no leading zeros, and there is "
                    f"the label '{label}'; quote the label that you mean: '{label}' or '{number}'"
                )
            self._met[label] = canonical_name(label) in self._entries
        return self._met[label]

    def conclude(self) -> None:
        """Raise IceboxError for an entry that is no row's label. "" may be nobody's: rows without a label, if any."""
        met = {canonical_name(label) for label in self._met}
        for name, entry in self._entries.items():
            if name and name not in met:
                near = difflib.get_close_matches(name, list(self._met), n=3, cutoff=0.5)
                near += [label for label in self._met if label.casefold() == name.casefold() and label not in near]
                labels = [label for label in self._met if label]
                listed = ", ".join(f"'{in_line(label)}'" for label in (near or labels)[:LISTED])
                more = " …" if not near and len(labels) > LISTED else ""
                quote = isinstance(entry, int) and any(map(LEADING_ZEROS.fullmatch, labels))
                raise IceboxError(
                    f"datasets: drop_labels: no row has the label {entry!r}; "
                    f"{'the nearest are' if near else 'there are'}: {listed}{more}; "
                    + ("quote it as the file has it" if quote else "correct it, or take it out of `drop_labels`")
                )


def note_dropped(account: Account, label: str, where: str) -> None:
    """Count a row that is left out for its label."""
    account.note("dropped_labels", f"rows left out whose label is '{in_line(label)}'", where)

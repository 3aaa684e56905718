"""The account of a dataset's reading: what was passed over or is doubtful, by reason, with a count and examples."""

from dataclasses import dataclass, field
from typing import Any

from icebox.features.names import in_line

EXAMPLES = 50  # in the file of findings
SHOWN = 3  # in a line


@dataclass(kw_only=True)
class Remark:
    """One reason; `description` is a noun in the plural, such as "files passed over: ending .txt"."""

    kind: str
    description: str
    count: int = 0
    examples: list[str] = field(default_factory=list)

    def sentence(self) -> str:
        """One line for the terminal."""
        names = ", ".join(map(in_line, self.examples[:SHOWN])) + (" …" if self.examples and self.count > SHOWN else "")
        return f"{self.description}: {self.count:,}{names and f', {names}'}"

    def as_json(self) -> dict[str, Any]:
        """The remark in the form of a finding about rows: an example is a cluster of one, without split and label."""
        return {
            "kind": self.kind,
            "says": self.description,
            "count": self.count,
            "items": self.count,
            "dropped": {},
            "first": [[{"item_id": example, "split": "", "label": ""}] for example in self.examples],
        }


class Account:
    """Remarks in the order in which their reasons first came up."""

    def __init__(self) -> None:
        self._remarks: dict[tuple[str, str], Remark] = {}
        self.cases = 0  # of all reasons

    def note(self, kind: str, description: str, example: str = "", *, count: int = 1) -> None:
        """Count one more case (or `count`) of a reason; the first examples are kept."""
        remark = self._remarks.setdefault((kind, description), Remark(kind=kind, description=description))
        remark.count += count
        self.cases += count
        if example and len(remark.examples) < EXAMPLES:
            remark.examples.append(example)

    def remarks(self) -> list[Remark]:
        """All remarks."""
        return list(self._remarks.values())

    def clear(self) -> None:
        """Forget everything: the dataset is read anew."""
        self._remarks.clear()
        self.cases = 0

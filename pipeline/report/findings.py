"""Read the findings in a dataset that its manifest stage left."""

from typing import Any

from pydantic import Field

from icebox.pipeline.project import documents, paths
from icebox.pipeline.project.documents import Document


class Item(Document):
    """An item of a cluster."""

    item_id: str
    split: str
    label: str


class Finding(Document):
    """Clusters of items that need a look, and how many were left out because of them, by split."""

    says: str
    items: int
    dropped: dict[str, int] = Field(default_factory=dict)
    first: list[list[Item]] = Field(default_factory=list)


def read(dataset: str) -> list[dict[str, Any]]:
    """The findings; none where their file is not on this machine. Raises IceboxError for a damaged one."""
    path = paths.findings(dataset)
    if not path.exists():
        return []
    findings = documents.read(path, list[Finding], remedy=f"run: dvc repro manifest@{dataset}")
    return [finding.model_dump() for finding in findings]

"""The names under which published datasets keep their splits, and ours for them."""

SPLITS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test",
}  # fmt: skip


def ours(name: str) -> str:
    """`Validation` → `val`; a name that is none of them stays as it is, for the manifest to accept or refuse."""
    stripped = name.strip()
    return SPLITS.get(stripped.lower(), stripped)

"""The files of a table: one, several, those of a folder or those that a pattern matches; by split."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from icebox.features.abc.account import Account
from icebox.features.buckets.path import place
from icebox.features.datasets.readers.split_names import splits_of_names
from icebox.features.datasets.readers.tables.table import has_table_ending
from icebox.features.errors import IceboxError
from icebox.features.splits import canonical_split_name

TablePath = Path | Sequence[Path]
WILDCARDS = "*?["


def paths_by_split(path: TablePath | Mapping[str, TablePath]) -> dict[str, list[Path]]:
    """{split: paths}; the key is "" where a column names the split, or nothing does."""
    by_split = path if isinstance(path, Mapping) else {"": path}
    listed = {
        name: [place(paths)] if isinstance(paths, str | Path) else [place(each) for each in paths]
        for name, paths in by_split.items()
    }
    if not listed or not all(listed.values()):
        raise IceboxError("datasets: path: expected a file or several, found none")
    return listed


def table_files(paths: Mapping[str, Sequence[Path]], account: Account, *, by_name: bool) -> dict[str, list[Path]]:
    """{split: files}, the files of a folder or a pattern in the order of their names.

    With `by_name`, several files without a split go by the splits that their names tell, as train-00000-of-00002 does.
    Raises IceboxError for a folder or a pattern without tables, and for names of which only some tell a split.
    """
    by_split: dict[str, list[Path]] = {}
    for split, group in paths.items():
        by_split.setdefault(canonical_split_name(split), []).extend(f for path in group for f in expand(path, account))
    if list(by_split) != [""] or not by_name or by_split[""] == list(paths[""])[:1]:
        return by_split
    splits = splits_of_names([file.name for file in by_split[""]], ", ".join(map(str, paths[""])))
    if not splits:
        return by_split
    return {
        split: [file for file in by_split[""] if splits[file.name] == split] for split in dict.fromkeys(splits.values())
    }


def expand(path: Path, account: Account) -> list[Path]:
    """The files that a path stands for."""
    if path.is_dir():
        tables = []
        for file in sorted(path.iterdir(), key=str):
            if file.is_file() and has_table_ending(file) and not file.name.startswith("."):
                tables.append(file)
            else:
                account.note("passed_over", "files and folders beside the tables, passed over", str(file))
        if not tables:
            raise IceboxError(f"datasets: {path}: expected tables (.csv, .tsv, .jsonl, .parquet, …) in it, found none")
        return tables
    if is_pattern(path):
        folder = folder_of(path)
        matched = sorted(filter(Path.is_file, folder.glob(str(path.relative_to(folder)))), key=str)
        if not matched:
            raise IceboxError(f"datasets: no file matches {path} (looked in {Path.cwd()}); correct `path`")
        return matched
    return [path]


def is_pattern(path: Path) -> bool:
    """Whether a path is a pattern such as `data/*.parquet`, and no file's own name."""
    return any(wildcard in str(path) for wildcard in WILDCARDS) and not path.exists()


def folder_of(path: Path) -> Path:
    """The folder in which the files of a path lie: for a pattern the last without a wildcard."""
    if path.is_dir():
        return path
    if is_pattern(path):
        return next(folder for folder in path.parents if not any(wildcard in str(folder) for wildcard in WILDCARDS))
    return path.parent

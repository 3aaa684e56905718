"""Where DVC keeps contents: with `cache.type: symlink`, `dvc add` leaves links into that folder in place of files."""

import functools
from collections.abc import Sequence
from pathlib import Path

from icebox.features.errors import IceboxError


def folders() -> Sequence[Path]:
    """The cache of the project around the current folder, links followed; none where DVC is not at work."""
    root = next((folder for folder in (Path.cwd(), *Path.cwd().parents) if (folder / ".dvc").is_dir()), None)
    return () if root is None else folders_of(root / ".dvc")


@functools.lru_cache(maxsize=8)  # asked for every link
def folders_of(dvc_folder: Path) -> Sequence[Path]:
    """`cache.dir` of DVC's settings, or `.dvc/cache`. Raises IceboxError for settings that DVC can't read."""
    from dvc.config import Config, ConfigError  # here, since the import takes 0.3 s

    try:
        configured = Config(str(dvc_folder))["cache"].get("dir")
    except ConfigError as reason:
        raise IceboxError(f"{dvc_folder / 'config'}: {reason}") from reason
    return (Path(configured or dvc_folder / "cache").resolve(),)

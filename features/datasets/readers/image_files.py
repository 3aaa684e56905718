"""The image files below a folder, and an account of all other files there."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from icebox.features import files
from icebox.features.abc.account import Account
from icebox.features.buckets.path import walk
from icebox.features.errors import IceboxError
from icebox.features.images.decoding import IMAGE_SUFFIXES


@dataclass(frozen=True)
class ImageFiles:
    """Paths relative to the folder that was listed, sorted as text. `folders` are all that are not hidden."""

    images: list[PurePosixPath]
    folders: list[PurePosixPath]


def list_image_files(root: Path, account: Account) -> ImageFiles:
    """Every image file below `root`; files that are passed over are noted by reason.

    Raises IceboxError for a folder that can't be listed, a link to a folder or out of `root`, and a name that is not
    UTF-8.
    """
    images, listed, others = [], [], []
    for folder, folders, names in walk(root, refuse_unreadable):
        relative = folder.relative_to(root)
        for name in folders:
            if name.startswith("."):
                others.append((relative / name, "folders passed over: hidden"))
            elif (folder / name).is_symlink():  # walk would pass it over in silence
                raise IceboxError(f"datasets: {folder / name} is a link; put the folder itself there")
        folders[:] = [name for name in folders if not name.startswith(".")]
        listed += [PurePosixPath(readable_name((relative / name).as_posix())) for name in folders]
        for name in names:
            path = relative / name
            if reason := reason_to_pass_over(root / path):
                others.append((path, reason))
            else:
                if (root / path).is_symlink():
                    files.contained_path(root, path.as_posix())
                images.append(readable_name(path.as_posix()))
    for path, reason in sorted(others):
        account.note("passed_over", reason, ascii(str(path)).strip("'") if not is_utf8(str(path)) else path.as_posix())
    return ImageFiles([PurePosixPath(name) for name in sorted(images)], sorted(listed))


def reason_to_pass_over(path: Path) -> str:
    """Why a file is none of the images, or ""."""
    if path.name.startswith("."):
        return "files passed over: hidden"
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        ending = path.suffix.lower()
        return f"files passed over: ending {ending}, no picture's" if ending else "files passed over: without an ending"
    if path.exists() and not path.is_file():
        return "files passed over: no plain files, but pipes, sockets or devices"
    return ""


def refuse_unreadable(error: OSError) -> None:
    """Raise for a folder that can't be listed: by default walk skips it in silence."""
    raise IceboxError(f"datasets: {error.filename} can't be listed: {error.strerror}") from error


def readable_name(name: str) -> str:
    """The name itself; raises IceboxError for one that is not UTF-8, which no manifest could hold."""
    if not is_utf8(name):
        raise IceboxError(f"datasets: {name!r} is not a UTF-8 file name; rename it (convmv does many)")
    return name


def is_utf8(name: str) -> bool:
    """Whether a file's name could be decoded."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True

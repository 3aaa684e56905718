"""Images in a folder of WebDataset's tar archives: `00017.jpg` beside its label, `00017.cls` or `00017.json`.

An archive is listed once; an image is then read by its offset, so that workers can read in parallel.
"""

import glob
import json
import os
import tarfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from annotated_types import Ge, Le

from icebox.features import files
from icebox.features.abc.account import Account
from icebox.features.abc.dataset import Content, Dataset, Item, Modality, Part
from icebox.features.buckets.path import place
from icebox.features.datasets.readers.split_names import splits_of_names
from icebox.features.datasets.readers.tables.cells import as_text
from icebox.features.errors import IceboxError
from icebox.features.images.bit_depth import scaled
from icebox.features.images.contrast import with_contrast

Member = tuple[int, int]  # offset and size in the archive, in bytes
LABEL_BYTES_MAX = 1 << 24  # of the member with the label, which may be JSON with much else in it


class Source(Dataset):
    """One item per sample (the members that share a name up to its first dot), in the order of archives and members.

    Where every archive's path has a part such as train, val or test (`pets-train-000.tar`, `test/000.tar`), these
    are the official splits.
    """

    modality: Modality = "image"

    def __init__(
        self,
        *,
        path: Path,
        image: Sequence[str] = ("jpg", "jpeg", "png", "webp"),
        label: str = "cls",
        key: str | None = None,
        group: str | None = None,
        bits: Annotated[int, Ge(8), Le(16)] | None = None,
        contrast: Literal["none", "equalize", "clahe"] = "none",
    ) -> None:
        """`path` holds the archives. `image` are the extensions of images, `label` that of the member with the label.

        A member with the extension `json` is an object: `key` (default: label) names the value that is the label,
        `group` the value that is the group. `bits` and `contrast` are those of image_folder.
        """
        self.path = place(path)
        self.pattern = "*"
        self.image = tuple(image)
        self.label = label
        self.key = key
        self.group = group
        self.bits = bits
        self.contrast = contrast

    def items(self) -> Iterator[Item]:
        """Items with ids `ARCHIVE/SAMPLE`, without `.tar`.

        Raises IceboxError as `list_samples` does, and for a missing image or label.
        """
        for part in self.parts():
            yield from part.items()

    def parts(self) -> Sequence[Part]:
        """An archive each. Raises IceboxError for a folder without any."""
        if not self.path.is_dir():
            raise IceboxError(
                f"datasets: there is no folder {self.path} (looked in {Path.cwd()}); put the .tar archives there, or "
                "correct `path`"
            )
        self.account.clear()
        archives = []
        zipped = []
        for path in sorted(self.path.rglob(self.pattern)):
            name = path.relative_to(self.path).as_posix()
            if path.name.endswith(".tar") and path.is_file():
                archives.append(name)
            elif ".tar." in path.name or path.name.endswith((".tgz", ".zip")):
                zipped.append(path.name)
                self.account.note("passed_over", "archives passed over: not plain .tar (unpack them to .tar)", name)
            elif not path.is_dir():
                self.account.note("passed_over", "files passed over: no .tar archives", name)
        archives.sort()
        if not archives:
            raise IceboxError(
                f"datasets: {self.path}: expected .tar archives, found none"
                + (f"; {zipped[0]} is compressed and can't be read by place: unpack it to .tar" if zipped else "")
            )
        stems = {archive: archive.removesuffix(".tar") for archive in archives}
        splits = splits_of_names(stems.values(), self.path)
        return [self._part(archive, splits.get(stems[archive], "")) for archive in archives]

    def _part(self, archive: str, split: str) -> Part:
        """The samples of one archive."""
        settings = [str(self.path), archive, split, list(self.image), self.label, self.key, self.group]
        return Part(partial(self._items, archive, split), settings, [self.path / archive])

    def _items(self, archive: str, split: str) -> Iterator[Item]:
        stem = archive.removesuffix(".tar")
        for sample, parts in list_samples(files.contained_path(self.path, archive), self.account).items():
            where = f"{self.path / archive}, sample '{sample}'"
            pictures = [parts[ending] for ending in self.image if ending in parts]
            if len(pictures) != 1:
                raise IceboxError(
                    f"datasets: {where}: expected one member ending in {', '.join(self.image)}, "
                    f"found {', '.join(sorted(parts))} (a sample's name ends at its first dot)"
                )
            label, group = self._label(archive, parts, where) if self.labelled else ("", "")
            offset, size = pictures[0]
            yield Item(
                item_id=f"{stem}/{sample}",
                source=f"{archive}:{offset}:{size}",
                label=label,
                split=split,
                group=group,
            )

    def read(self, source: str) -> Content:
        """The image's bytes. Raises IceboxError for an archive that is missing, outside the folder or too short."""
        archive, offset, size = source.rsplit(":", 2)
        picture = scaled(self._bytes(archive, (int(offset), int(size))), self.bits, source)
        return with_contrast(picture, self.contrast)

    def content_file(self, source: str) -> Path:
        """The picture's archive; the source says where in it."""
        return self.path / source.rsplit(":", 2)[0]

    def elsewhere(self, path: Path, *, labelled: bool) -> "Source | None":
        """The samples of one archive, or of those in another folder."""
        if not (path.suffix == ".tar" and path.is_file()) and not (path.is_dir() and any(path.rglob("*.tar"))):
            return None
        folder, pattern = (path, "*") if path.is_dir() else (path.parent, glob.escape(path.name))
        return self._changed(path=folder, pattern=pattern, labelled=labelled)

    def _bytes(self, archive: str, member: Member) -> bytes:
        """The content of a member."""
        offset, size = member
        try:
            with files.contained_path(self.path, archive).open("rb") as stream:
                length = os.fstat(stream.fileno()).st_size
                stream.seek(offset)
                content = stream.read(min(size, length))  # a damaged header may claim any size
        except OSError as error:
            raise IceboxError(f"datasets: {self.path / archive} can't be read: {error.strerror}") from error
        if len(content) != size:
            raise IceboxError(
                f"datasets: {self.path / archive} is cut short: {len(content)} of {size} bytes at {offset}"
            )
        return content

    def _label(self, archive: str, parts: dict[str, Member], where: str) -> tuple[str, str]:
        """Label and group of a sample."""
        if self.label not in parts:
            raise IceboxError(
                f"datasets: {where}: no member ending in '{self.label}' for the label, there are: "
                f"{', '.join(sorted(parts))}; set `label`"
            )
        if parts[self.label][1] > LABEL_BYTES_MAX:
            raise IceboxError(
                f"datasets: {where}: the label's member holds {parts[self.label][1]:,} bytes; set `label`"
            )
        try:
            content = self._bytes(archive, parts[self.label]).decode()
        except UnicodeDecodeError as error:
            raise IceboxError(f"datasets: {where}: its label is not UTF-8: {error.object[:40]!r}") from error
        if self.key is None and not self.label.endswith("json"):
            return content.strip(), ""
        try:
            values = json.loads(content)
            cells = [as_text(values[key], where, key) if key else "" for key in (self.key or "label", self.group)]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise IceboxError(
                f"datasets: {where}: expected a JSON object with {self.key or 'label'!r} (see `key`), "
                f"found {content[:60]!r}"
            ) from error
        return cells[0].strip(), cells[1]


def list_samples(archive: Path, account: Account) -> dict[str, dict[str, Member]]:
    """{sample: {extension: member}} of an uncompressed tar, in its order.

    Hidden members, and a missing end, are noted. Raises IceboxError for a damaged archive, and for members that are
    links, devices or lead out of a folder.
    """
    samples: dict[str, dict[str, Member]] = {}
    try:
        with tarfile.open(archive, "r:") as tar:
            end = 0
            for member in tar:
                end = member.offset_data + -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
                if member.isdir():
                    continue
                name = PurePosixPath(member.name)
                if not member.isreg() or member.issparse() or name.is_absolute() or ".." in name.parts:
                    raise IceboxError(
                        f"datasets: {archive}: member '{member.name}' is a link, a device or leads out of the archive; "
                        "expected plain files only; leave this archive alone unless you know where it comes from"
                    )
                stem, _, extension = name.name.partition(".")
                if stem:  # not .DS_Store and the like
                    parts = samples.setdefault((name.parent / stem).as_posix(), {})
                    if extension.lower() in parts:
                        raise IceboxError(f"datasets: {archive}: member '{member.name}' is there twice")
                    parts[extension.lower()] = member.offset_data, member.size
                else:
                    account.note("passed_over", "members of archives passed over: hidden", f"{archive}: {member.name}")
        check_end(archive, end, account)
    except (tarfile.TarError, OSError, EOFError, ValueError, OverflowError) as error:
        raise IceboxError(
            f"datasets: {archive} is no whole, uncompressed tar: {' '.join(str(error).split())}"
        ) from error
    return samples


def check_end(archive: Path, end: int, account: Account) -> None:
    """Note an archive that stops after its last member, at byte `end`, without the block of zeros that closes a tar.

    Raises IceboxError where something else stands there: tarfile takes a damaged or half header for the end.
    """
    with archive.open("rb") as stream:
        stream.seek(end)
        block = stream.read(tarfile.BLOCKSIZE)
    if not block:
        account.note("no_end", "archives without a tar's end mark, as those that were cut short", str(archive))
    elif block != bytes(tarfile.BLOCKSIZE):
        raise IceboxError(f"datasets: {archive} is cut short or damaged after byte {end:,}; fetch or make it anew")

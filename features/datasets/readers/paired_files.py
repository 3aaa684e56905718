"""Pictures in a folder, and the files that belong to them: both by templates of their paths.

`{split}` in a template stands for one folder, or a part of its name; `{name}` for what a picture and its file have in
common, over several folders too. A template without `{name}` is a folder; one that does not say the ending takes any
picture's.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from icebox.features.abc.account import Account
from icebox.features.datasets.readers.contained_text import read_lines
from icebox.features.datasets.readers.image_files import list_image_files
from icebox.features.errors import IceboxError, suggestion
from icebox.features.names import in_line
from icebox.features.splits import canonical_split_name, is_split, split_within

NAME, SPLIT = "{name}", "{split}"
GROUPS = {NAME: "(?P<name>.+)", SPLIT: "(?P<split>[^/]+)"}
FLAG = re.compile(r"\s+(?:-1|0|1)$")  # VOC's lists of one class say behind each name whether it is there


@dataclass(frozen=True)
class Template:
    """The paths of a kind of files, relative to the dataset's folder."""

    text: str

    @cached_property
    def whole(self) -> str:
        """The template with `{name}`."""
        folder = self.text.strip("/")
        return folder if NAME in folder else f"{folder}/{NAME}" if folder not in ("", ".") else NAME

    @property
    def any_ending(self) -> bool:
        """Whether it leaves the ending open."""
        return self.whole.endswith(NAME)

    @property
    def by_split(self) -> bool:
        """Whether it says where the split is."""
        return SPLIT in self.whole

    @cached_property
    def folder(self) -> str:
        """The folder that all of its paths lie in, "." for the dataset's own."""
        parts = PurePosixPath(self.whole).parts[:-1]
        fixed = next((i for i, part in enumerate(parts) if "{" in part), len(parts))
        return "/".join(parts[:fixed]) or "."

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The regular expression of its paths; what stands twice must be the same."""
        text, known = "", set()
        for part in re.split(r"(\{name\}|\{split\})", self.whole):
            text += f"(?P={part[1:-1]})" if part in known else GROUPS.get(part, re.escape(part))
            known |= {part} & GROUPS.keys()
        return re.compile(text + (r"\.[^./]+" if self.any_ending else ""))

    def match(self, path: str) -> tuple[str, str] | None:
        """The folder in the split's place ("" without `{split}`), and the name; None for another path."""
        found = self.pattern.fullmatch(path)
        return (found.groupdict().get("split") or "", found["name"]) if found else None

    def path(self, folder: str, name: str, ending: str) -> str:
        """The path of a name, with this ending where the template has none."""
        path = self.whole.replace(SPLIT, folder).replace(NAME, name)
        return path + ending if self.any_ending else path


@dataclass(frozen=True)
class Picture:
    """A picture: its path, its name by the template, the folder in the split's place, and its official split."""

    path: str
    name: str
    folder: str
    split: str


@dataclass(frozen=True, kw_only=True)
class PairedFiles:
    """The pictures below `root` by the template `images`, with splits by their folder or by lists of names.

    `lists` is the template of text files with a name a line, one file a split. `splits` says which split a folder or
    list is, and leaves the others out; without it they are called by splits. Where the pictures are `further` ones than
    the dataset's own, all in the folder are taken, and have no split.
    """

    root: Path
    images: Template
    splits: Mapping[str, str] | None = None
    lists: str | None = None
    further: bool = False

    def pictures(self, account: Account) -> list[Picture]:
        """The pictures, in the order of their paths; what is passed over is noted.

        Raises IceboxError for a folder that is missing or has no pictures, and for splits that are not clear.
        """
        listed = self.matched(account)
        if self.further:
            return listed
        if self.lists:
            return self.by_lists(listed, self.lists, account)
        folders = dict.fromkeys(self.folder_of(picture) for picture in listed)
        known = self.known_splits([folder for folder in folders if folder])
        kept = []
        for picture in listed:
            folder = self.folder_of(picture)
            if self.splits is not None and folder not in known:
                account.note("passed_over", "pictures passed over: of no folder that `splits` names", picture.path)
                continue
            kept.append(Picture(picture.path, picture.name, picture.folder, known.get(folder, "")))
        return kept

    @property
    def is_laid_out(self) -> bool:
        """Whether the folder is there that only the template names: else pictures may lie in `root` anyhow."""
        return self.images.folder != "." and (self.root / self.images.folder).is_dir()

    def matched(self, account: Account) -> list[Picture]:
        """All pictures that the template fits, without splits."""
        folder = self.root / self.images.folder
        if not folder.is_dir():
            raise IceboxError(
                f"datasets: there is no folder {folder} (looked in {Path.cwd()}); put the pictures there, or correct "
                "`path` or `images`"
            )
        pictures: dict[tuple[str, str], Picture] = {}
        for image in list_image_files(folder, account).images:
            path = str(PurePosixPath(self.images.folder) / image)
            found = self.images.match(path)
            if found is None:
                account.note("passed_over", f"pictures passed over: path unlike {self.images.whole}", path)
                continue
            if found in pictures:
                raise IceboxError(
                    f"datasets: {self.root}: {pictures[found].path} and {path} are both the picture {found[1]}; move "
                    f"one away, or say the ending in `images` ({self.images.whole}.jpg)"
                )
            pictures[found] = Picture(path, found[1], found[0], "")
        if not pictures:
            raise IceboxError(f"datasets: {folder}: expected pictures {self.images.whole}, found none")
        return list(pictures.values())

    def folder_of(self, picture: Picture) -> str:
        """The folder that may be called by a split."""
        return picture.folder if self.images.by_split else picture.name.partition("/")[0] * ("/" in picture.name)

    def known_splits(self, folders: Sequence[str]) -> dict[str, str]:
        """{folder or list: split}; {} where none is called by one and the template has no place for one."""
        if self.splits is not None:
            if unknown := [name for name in self.splits if name not in folders]:
                raise IceboxError(
                    f"datasets: {self.root}: splits: none is called '{in_line(unknown[0])}'; "
                    f"{suggestion(unknown[0], [*folders])}"
                )
            return {name: canonical_split_name(split) for name, split in self.splits.items()}
        called = {folder: canonical_split_name(folder) for folder in folders}
        called |= {folder: split_within(folder) for folder in folders if not is_split(called[folder])}
        odd = [folder for folder in folders if not called[folder]]
        if odd and (self.images.by_split or len(odd) < len(folders)):
            raise IceboxError(
                f"datasets: {self.root}: {', '.join(map(in_line, odd[:5]))}{' …' if len(odd) > 5 else ''}: called by "
                f"no split; say with `splits` which each is: splits: {{{odd[0]}: train, …}}"
            )
        return {} if odd else called

    def by_lists(self, listed: Sequence[Picture], lists: str, account: Account) -> list[Picture]:
        """The pictures that lists name, in the lists' order of splits; others are noted."""
        template = Template(lists)
        folder = self.root / template.folder
        pattern = re.compile(re.escape(template.text).replace(re.escape(SPLIT), "(?P<split>[^/]+)"))
        found = {
            match["split"]: path
            for file in (sorted(folder.iterdir()) if folder.is_dir() else ())
            if (match := pattern.fullmatch(path := file.relative_to(self.root).as_posix()))
        }
        known = self.known_splits(list(found)) if self.splits is not None else {
            name: canonical_split_name(name) for name in found if is_split(canonical_split_name(name))
        }  # fmt: skip
        if not known:
            raise IceboxError(f"datasets: {self.root}: expected lists of names, {lists}, found none")
        for name in sorted(found.keys() - known.keys()):
            account.note("passed_over", "lists passed over: called by no split, or not named in `splits`", found[name])
        by_name = {picture.name: picture for picture in listed} | {picture.path: picture for picture in listed}
        kept: dict[str, Picture] = {}
        for name, split in known.items():
            for line in read_lines(self.root, found[name]):
                spelled = line.removeprefix("./")
                picture = by_name.get(spelled) or by_name.get(FLAG.sub("", spelled))
                if picture is None:
                    raise IceboxError(
                        f"datasets: {self.root / found[name]}: there is no picture "
                        f"{in_line(self.images.path('', spelled, ''))}"
                    )
                if kept.get(picture.path, picture).split not in ("", split):
                    raise IceboxError(
                        f"datasets: {self.root / found[name]}: {in_line(line)} is in the list of "
                        f"{kept[picture.path].split}, too"
                    )
                kept[picture.path] = Picture(picture.path, picture.name, picture.folder, split)
        for picture in listed:
            if picture.path not in kept:
                account.note("passed_over", "pictures passed over: in no list", picture.path)
        return list(kept.values())

"""WikiText (Merity et al. 2016), as published: `wiki.{train,valid,test}.tokens`, words separated by spaces.

An item is an article, with its line ends: the articles joined give the file again, token for token.
Meant for pretraining a language model. The label is the article's title; there is nothing to classify.
"""

import functools
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

from icebox.features.abc.dataset import Dataset, Item, Modality
from icebox.features.buckets.path import place
from icebox.features.errors import IceboxError
from icebox.features.json_files import one_line

FILES = {"train": "wiki.train.tokens", "val": "wiki.valid.tokens", "test": "wiki.test.tokens"}
TITLE = re.compile(r"^ = [^=\n]+ = $", re.M)  # deeper headings have more signs


class Source(Dataset):
    """One item per article, in the files' order; the official split."""

    modality: Modality = "text"

    def __init__(self, *, path: Path) -> None:
        """`path` is the folder of the three token files, relative to the project's root."""
        self.path = place(path)

    def items(self) -> Iterator[Item]:
        """`train-0000` and so on. Raises IceboxError for a missing file or one of another format."""
        for split, name in FILES.items():
            for number, text in enumerate(read_articles(self.path / name)):
                title = TITLE.search(text)
                label = title[0].strip(" =") if title else "untitled"
                yield Item(item_id=f"{split}-{number:04}", source=f"{split}:{number}", label=label, split=split)

    def read(self, source: str) -> str:
        """The article's text, from its title to the next one's."""
        split, _, number = source.partition(":")
        articles = read_articles(self.path / FILES[split]) if split in FILES else ()
        if not number.isdecimal() or int(number) >= len(articles):
            raise IceboxError(f"wikitext2: expected SPLIT:NUMBER of an article in {self.path}, found '{source}'")
        return articles[int(number)]


def read_articles(path: Path) -> tuple[str, ...]:
    """The articles of a file, split before each title; text before the first title belongs to the first article."""
    if not path.is_file():
        raise IceboxError(
            f"wikitext2: no file {path}; expected {', '.join(FILES.values())} in the folder that `path` names"
        )
    return parse_articles(path, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=len(FILES))
def parse_articles(path: Path, modified_ns: int) -> tuple[str, ...]:
    """`read_articles`, once for each state of a file."""
    try:
        with path.open(encoding="utf-8", newline="") as stream:  # a line ends where the file says, not at a stray \r
            text = stream.read()
    except (OSError, UnicodeDecodeError) as error:
        raise IceboxError(f"wikitext2: {path} can't be read: {one_line(error)}; fetch it anew") from error
    starts = [match.start() for match in TITLE.finditer(text)]
    if not starts:
        raise IceboxError(f"wikitext2: {path}: expected articles with titles like ' = Title = ', found none")
    boundaries = [0, *starts[1:], len(text)]
    return tuple(text[begin:end] for begin, end in itertools.pairwise(boundaries))

"""First paragraphs of public docstrings; the class to predict is the library that a docstring comes from.

The texts come with the installed libraries, so the dataset needs no download and has the versions that the
requirements pin. Files are read with `ast`, nothing is imported.
"""

import ast
import hashlib
import importlib.util
import re
import reprlib
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import islice
from pathlib import Path

from icebox.features.abc.dataset import Dataset, Item, Modality
from icebox.features.errors import IceboxError
from icebox.features.names import in_line

LIBRARIES = (  # those of our requirements, and of what they bring along, that have hundreds of docstrings
    "PIL",
    "dulwich",
    "huggingface_hub",
    "matplotlib",
    "networkx",
    "numpy",
    "scipy",
    "sklearn",
    "sympy",
    "torch",
    "torchvision",
    "transformers",
)
SKIPPED_FOLDERS = {"tests", "test", "testing", "_vendor", "externals"}
GIVEAWAYS = (  # names taken out of every text, whatever its label and in any case; a new library needs its own here
    "PIL|Pillow|dulwich|fsspec|h5py|hdf5|hdf|h5[a-z]{1,2}|huggingface|huggingface_hub|hf|hub|joblib|loky|matplotlib|mpl"
    "|pyplot|plt|networkx|nx|numpy|np|scipy|sp|scikit-learn|sklearn|sympy|pytorch|torchvision|torchscript|torch|aten"
    "|transformers|git"
)
NAMES = re.compile(rf"(?<![\w-])(?:{GIVEAWAYS})(?:\.\w+)*(?![\w-])", re.I)
ROLE = re.compile(r":[a-z][\w:+-]*:(?=`)")  # reStructuredText's :class:`…`
SECTION = re.compile(  # a heading, a field, a doctest, a line of arguments: the prose has ended
    r"^(?:Args|Arguments|Attributes|Parameters|Returns?|Raises|Yields|Examples?|Notes?|Usage|Inputs?|Outputs?)\s*:?\s*$"
    r"|^(?::\w+|\.\. |>>>|[-=]{3}|@\w+|[`*\w]+ \(.*\) ?:|[`*\w]+: )",
    re.M,
)
MARKUP = re.compile(r"[`*~]+|\\[()\[\]]|\|")


class Source(Dataset):
    """Docstrings of public classes, functions and methods; each source file is one Item.group."""

    modality: Modality = "text"

    def __init__(
        self,
        *,
        libraries: Sequence[str] = LIBRARIES,
        max_per_library: int = 300,
        max_per_file: int = 10,
        min_words: int = 8,
    ) -> None:
        """`libraries` are import names; `max_per_library` and `max_per_file` keep large ones from dominating. Shorter
        texts than `min_words` are left out.

        On 12 libraries of 300 (3,454 items), a file's items in one split, the best head's val accuracy was 0.57 on
        MiniLM and 0.47 on hashed words; with 400 of each 0.58 and 0.49.
        """
        self.libraries = tuple(libraries)
        self.max_per_library = max_per_library
        self.max_per_file = max_per_file
        self.min_words = min_words
        self._folders: dict[str, Path] = {}

    def items(self) -> Iterator[Item]:
        """Items sorted by library, file and name. Raises IceboxError for a library that is not installed."""
        self.account.clear()
        by_text: dict[str, list[Item]] = defaultdict(list)
        for library in sorted(set(self.libraries)):
            for text, item in self._candidates(library).items():
                by_text[text].append(item)
        ambiguous = {text for text, same in by_text.items() if len({item.label for item in same}) > 1}
        unambiguous = [same[0] for text, same in by_text.items() if text not in ambiguous]
        yield from sorted(unambiguous, key=lambda item: item.item_id)

    def read(self, source: str) -> str:
        """The paragraph of `LIBRARY:FILE:NAME`. Raises IceboxError where there is none in the library now."""
        library, _, place = source.partition(":")
        file, _, name = place.rpartition(":")
        if library in self.libraries:
            if library not in self._folders:
                self._folders[library] = package_folder(library)
            path = self._folders[library] / file
            if path.is_file() and (text := texts_of(path, path.stat().st_mtime_ns).get(name)) is not None:
                return text
        raise IceboxError(
            f"datasets: docstrings: '{in_line(source)}' is no docstring of the installed {in_line(library)}, perhaps "
            "one of another version",
            hint="make the manifest again",
        )

    def _candidates(self, library: str) -> dict[str, Item]:
        """{text: item} of at most `max_per_library` items, drawn by hash: files first, then names in each.

        No file is read after the cap is reached: torch and transformers have thousands, 18 s of parsing.
        """
        root = package_folder(library)
        files = sorted((p.relative_to(root).as_posix() for p in root.rglob("*.py")), key=random_key)
        candidates: dict[str, Item] = {}
        for name in files:
            if SKIPPED_FOLDERS.isdisjoint(name.split("/")):
                group = f"{library}:{name}"
                try:
                    found = self._from_file(root / name, library, group)
                except (OSError, SyntaxError, ValueError, RecursionError):  # templates, tests of other parsers
                    self.account.note("passed_over", "source files passed over, which are no Python", group)
                    continue
                for text, item in found:
                    candidates.setdefault(text, item)
                if len(candidates) >= self.max_per_library:
                    break
        return dict(islice(candidates.items(), self.max_per_library))

    def _from_file(self, path: Path, library: str, group: str) -> list[tuple[str, Item]]:
        """At most `max_per_file` texts of one source file, with their items."""
        texts = texts_of(path, path.stat().st_mtime_ns)
        long_enough = [name for name, text in texts.items() if len(text.split()) >= self.min_words]
        sampled = sorted(long_enough, key=lambda name: random_key(f"{group}:{name}"))[: self.max_per_file]
        places = {name: f"{group}:{name}" for name in sampled}
        return [
            (texts[name], Item(item_id=place, source=place, label=library, group=group, content=texts[name]))
            for name, place in places.items()
        ]


def package_folder(library: str) -> Path:
    """The folder of an installed package, located without importing it.

    Raises IceboxError for a name that is not one identifier: `find_spec` imports the parents of a dotted name.
    """
    if not library.isidentifier():
        raise IceboxError(
            f"datasets: docstrings: libraries: expected names of installed packages (letters, digits and '_', no "
            f"dots), found {reprlib.repr(library)}"
        )
    try:
        spec = importlib.util.find_spec(library)
    except ValueError:  # a module of this process without a file, such as __main__
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise IceboxError(
            f"datasets: docstrings reads the installed package '{library}', which this environment lacks; "
            "pip install it, or take it out of `libraries`"
        )
    return Path(spec.submodule_search_locations[0])


def random_key(key: str) -> str:
    """A sort key that orders at random, in the same order on every machine."""
    return hashlib.sha256(key.encode()).hexdigest()


@cache
def texts_of(path: Path, modified_ns: int) -> dict[str, str]:
    """{qualified name: text} of a source file's public definitions; files are some thousand, and read in any order."""
    return {name: remove_giveaways(first_paragraph(doc)) for name, doc in public_docstrings(path)}


def public_docstrings(path: Path) -> Iterator[tuple[str, str]]:
    """(qualified name, docstring) of the file's public definitions; of two with one name the first."""
    docstrings: dict[str, str] = {}

    def walk(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.name[0] != "_":
                docstrings.setdefault(prefix + node.name, ast.get_docstring(node) or "")
                if isinstance(node, ast.ClassDef):
                    walk(node.body, f"{prefix}{node.name}.")

    with warnings.catch_warnings(action="ignore"):  # of escapes in other people's strings
        walk(ast.parse(path.read_bytes()).body, "")
    yield from docstrings.items()


def first_paragraph(docstring: str) -> str:
    """The text before the first empty line or section."""
    return SECTION.split(re.split(r"\n\s*\n", docstring, maxsplit=1)[0], maxsplit=1)[0]


def remove_giveaways(text: str) -> str:
    """Prose only: no markup (its dialect identifies the library), no library's name or dotted path, single spaces."""
    return " ".join(NAMES.sub(" ", MARKUP.sub(" ", ROLE.sub("", text))).split())

"""Read a YAML file that a stranger may have written: in bounded time and memory, and every error is one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer, ComposerError
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode

from icebox.features.errors import IceboxError
from icebox.features.json_files import one_line, read_bytes, shortened

BYTES_MAX = 1 << 18
KEY_MAX = 200  # characters
MESSAGE_MAX = 1500  # characters: a list of known names may be long
DEPTH_MAX = 50  # of lists and dictionaries within each other
VALUES_MAX = 10_000  # also with every alias written out: nine lists of nine aliases, each of the next, are 400 million
KEYS = tuple(f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "merge"))  # a merge is the key `<<`


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Shorten an IceboxError that repeats a name or a value of the file, which may hold anything."""
    try:
        yield
    except IceboxError as error:
        error.args = (one_line(error, limit=MESSAGE_MAX),)
        raise


def read_yaml(path: Path) -> dict[str, Any]:
    """The file's top-level dictionary, whose keys are texts; those within may be whole numbers as well.

    Raises IceboxError with the line of the first thing wrong.
    """
    if not path.exists():
        raise IceboxError(f"{path}: not found; run this in the project's root folder")
    content = read_bytes(path)
    if len(content) > BYTES_MAX:
        raise IceboxError(f"{path}: expected at most {BYTES_MAX:,} bytes, found {len(content):,}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as reason:
        line = content[: reason.start].count(b"\n") + 1
        raise IceboxError(f"{path}, line {line}: expected UTF-8, found the byte {content[reason.start]:#04x}") from None
    yaml = YAML(typ="safe", pure=True)  # YAML 1.2, as DVC reads it
    yaml.Composer, yaml.Constructor = BoundedComposer, LocatingConstructor
    try:
        node = yaml.compose(text)
        check_size(node, path)
        raw = None if node is None else yaml.constructor.construct_document(node)
    except MarkedYAMLError as reason:
        mark = reason.problem_mark or reason.context_mark
        where = f", line {mark.line + 1}" if mark else ""
        texts = filter(None, (reason.context, reason.problem))
        raise IceboxError(f"{path}{where}: {one_line(': '.join(texts))}") from None
    except (YAMLError, ValueError, OverflowError) as reason:  # ValueError, OverflowError: "\\UFFFFFFFF"
        raise IceboxError(f"{path}: {one_line(reason)}") from None
    if not isinstance(raw, dict):
        raise IceboxError(f"{path}: expected sections, found {shortened(raw)}")
    return raw


class BoundedComposer(Composer):
    """ruamel's composer, which stops at a document that is too deep or too large."""

    def __init__(self, loader: Any = None) -> None:
        super().__init__(loader)
        self.warn_double_anchors = False  # YAML 1.2 allows them
        self.levels = self.values = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """The next node, with all that it holds."""
        self.values += 1
        if self.levels > DEPTH_MAX or self.values > VALUES_MAX:
            limit = f"{DEPTH_MAX} levels" if self.levels > DEPTH_MAX else f"{VALUES_MAX:,} values"
            raise ComposerError(problem=f"expected at most {limit}", problem_mark=self.parser.peek_event().start_mark)
        self.levels += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.levels -= 1


class LocatingConstructor(SafeConstructor):
    """ruamel's safe constructor, which makes plain values only; any value that it can't make is named by its line."""

    def construct_object(self, node: Node, deep: bool = False) -> Any:
        """The value of a node."""
        try:
            return super().construct_object(node, deep=deep)
        except YAMLError:
            raise
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as reason:
            found = shortened(node.value) if isinstance(node, ScalarNode) else "this"
            problem = f"{found} is no {str(node.tag).rpartition(':')[2]} ({one_line(reason)})"
            raise MarkedYAMLError(problem=problem, problem_mark=node.start_mark) from None


def check_size(root: Node | None, path: Path) -> None:
    """Raise IceboxError for a document that is too large once its aliases are written out, and for odd keys."""
    sizes: dict[int, int] = {}
    waiting = [root] if root else []
    open_nodes: set[int] = set()
    while waiting:
        node = waiting[-1]
        inner = list(children(node))
        unknown = [child for child in inner if id(child) not in sizes]
        if unknown and id(node) in open_nodes:
            raise IceboxError(f"{place(path, node)}: an alias within what it stands for")
        if unknown:
            open_nodes.add(id(node))
            waiting += unknown
            continue
        waiting.pop()
        if isinstance(node, MappingNode):
            refuse_other_keys(node, path)
        sizes[id(node)] = 1 + sum(sizes[id(child)] for child in inner)
        if sizes[id(node)] > VALUES_MAX:
            raise IceboxError(f"{place(path, node)}: expected at most {VALUES_MAX:,} values, aliases written out")


def children(node: Node) -> Iterator[Node]:
    """The nodes directly within a node, keys included."""
    for part in () if isinstance(node, ScalarNode) else node.value:
        yield from part if isinstance(node, MappingNode) else (part,)


def refuse_other_keys(node: MappingNode, path: Path) -> None:
    """Raise IceboxError for a key that is neither a text nor a whole number: `true:`, `null:`, `[a]:`."""
    for key, _ in node.value:
        written = key.value if isinstance(key, ScalarNode) else key.tag.rpartition(":")[2]
        if key.tag not in KEYS:
            raise IceboxError(f"{place(path, key)}: expected a text as key, found {shortened(written)}; quote it")
        if len(written) > KEY_MAX:
            raise IceboxError(f"{place(path, key)}: expected a key of at most {KEY_MAX} characters")


def place(path: Path, node: Node) -> str:
    """The file and the line of a node."""
    return f"{path}, line {node.start_mark.line + 1}"

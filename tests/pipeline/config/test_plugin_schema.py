import pytest

from icebox.features.errors import IceboxError
from icebox.pipeline.config import plugin_schema

PLUGIN = """
import nothing_that_exists
Column = int | str
Count = Annotated[int, Ge(1)]
Step = Literal["one", "two", "three"]
def build(
    *, C: float = 1.0, kind: Literal["a", "b"] = "a", sizes: list[int] | None = None, path: Path, column: Column = 0,
    trees: Annotated[int, Ge(1)] = 10, shares: Annotated[list[Annotated[float, Interval(ge=0, lt=1)]], MinLen(1)] = [0],
    neighbors: Count | None = None, steps: Sequence[Step] = ()
): ...
class Source:
    def __init__(self, *, path: Path): ...
"""


@pytest.fixture
def file(tmp_path):
    (tmp_path / "plugin.py").write_text(PLUGIN)
    return tmp_path / "plugin.py"


def test_what_fits_the_signature_passes_without_importing_the_file(file):
    given = {"C": 1, "kind": "b", "sizes": [1, 2], "path": "x", "column": "name", "trees": 1, "shares": [0, 0.9]}
    plugin_schema.check(file, "build", given, where="heads.x")
    plugin_schema.check(file, "Source.__init__", {"path": "x"}, where="datasets.x")


def test_a_list_is_a_grid_only_where_grids_are(file):
    plugin_schema.check(file, "build", {"path": "x", "C": [0.1, 1.0]}, where="heads.x", grid=True)
    with pytest.raises(IceboxError, match=r"heads\.x\.C: expected float, found \[0\.1\]"):
        plugin_schema.check(file, "build", {"path": "x", "C": [0.1]}, where="heads.x")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"path": "x", "C": "1"}, "expected float, found '1'"),
        ({"path": "x", "C": True}, "expected float, found True"),
        ({"path": "x", "kind": "c"}, "kind: expected 'a' or 'b', found 'c'"),
        ({"path": "x", "steps": ["one", "tree"]}, "steps: expected 'one', 'two' or 'three', found 'tree'"),
        ({"path": "x", "steps": "one"}, r"steps: expected Sequence\[Literal\['one', 'two', 'three'\]\], found 'one'"),
        ({"path": "x", "sizes": [1.5]}, "found \\[1.5\\]"),
        ({"path": "x", "column": 1.5}, r"expected int \| str, found 1\.5"),
        ({"path": "x", "trees": 0}, r"heads\.x\.trees: expected int at least 1, found 0"),
        ({"path": "x", "trees": 1.5}, "expected int, found 1.5"),
        (
            {"path": "x", "shares": [0.5, 1]},
            r"expected list\[float at least 0 and less than 1\] 1 or more, found \[0.5, 1\]",
        ),
        ({"path": "x", "shares": []}, r"expected list\[float at least 0 and less than 1\] 1 or more, found \[\]"),
        ({"path": "x", "neighbors": 0}, r"neighbors: expected int at least 1 \| None, found 0"),
        ({"path": "x", "C": float("nan")}, "C: expected float, found nan"),
        ({"path": "x", "C": float("-inf")}, "C: expected float, found -inf"),
        ({"path": "x", "shares": [float("nan")]}, r"shares: expected .*, found \[nan\]"),
        ({}, "path: missing"),
    ],
)
def test_what_does_not_fit_is_named(file, given, message):
    with pytest.raises(IceboxError, match=message):
        plugin_schema.check(file, "build", given, where="heads.x")


def test_a_class_without_a_constructor_takes_no_parameters(file):
    file.write_text("class Source: ...")
    plugin_schema.check(file, "Source.__init__", {}, where="datasets.x")
    with pytest.raises(IceboxError, match="no such parameter"):
        plugin_schema.check(file, "Source.__init__", {"a": 1}, where="datasets.x")


def test_a_plugin_without_its_function_is_an_error(file):
    with pytest.raises(IceboxError, match="expected a function 'fetch', found none"):
        plugin_schema.check(file, "fetch", {}, where="backbones.x")


def test_an_annotation_that_names_nothing_known_is_an_error_of_the_plugin(file):
    file.write_text("def build(*, net: Module): ...")
    with pytest.raises(IceboxError, match=r"plugin\.py: expected a plain type in the signature, found Module"):
        plugin_schema.check(file, "build", {"net": 1}, where="heads.x")


def test_an_annotation_reaches_no_function(file):
    file.write_text("def build(*, net: open('x', 'w')): ...")
    with pytest.raises(IceboxError, match="expected a plain type"):
        plugin_schema.check(file, "build", {"net": 1}, where="heads.x")


def test_the_paths_among_a_plugins_arguments_are_found_defaults_too(file):
    file.write_text(
        """
class Source:
    def __init__(
        self, *, path: Path | dict[str, Path], folder: Path | None = None, raw: Path = Path("data/raw/x"), n: str = ""
    ): ...
"""
    )
    paths = plugin_schema.path_values(file, "Source.__init__", {"path": {"train": "a", "test": "b"}})
    assert list(map(str, paths)) == ["a", "b", "data/raw/x"]
    paths = plugin_schema.path_values(file, "Source.__init__", {"path": "a", "folder": "f", "raw": "r"})
    assert list(map(str, paths)) == ["a", "f", "r"]

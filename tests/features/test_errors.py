import pickle
from pathlib import Path

import pytest

from icebox.features.errors import ItemError, located, system_error

FEATURES = Path(__file__).parents[2] / "features"


def test_an_error_keeps_its_class_and_its_hint_where_its_place_is_added():
    with pytest.raises(ItemError) as caught, located("stores.s"), located("item 'i'"):
        raise ItemError("it is broken", hint="extract", store="s")
    assert str(caught.value) == "stores.s: item 'i': it is broken"
    assert (caught.value.hint, caught.value.values) == ("extract", {"store": "s"})
    assert str(caught.value.at("x", separator=".")) == "x.stores.s: item 'i': it is broken"


def test_an_error_crosses_to_another_process_whole():
    error = pickle.loads(pickle.dumps(ItemError("it is broken", hint="extract", store="s")))  # noqa: S301
    assert (str(error), error.hint, error.values) == ("it is broken", "extract", {"store": "s"})


@pytest.mark.parametrize(
    ("make", "advice"),
    [
        (lambda path: (path / "file/inner").mkdir(), "a folder is needed where a file lies"),
        (lambda path: (path / "file").mkdir(), "move away what lies there"),
        (lambda path: path.open(), "a file is needed where a folder lies"),
        (lambda path: (path / ("x" * 5000)).touch(), "give it a shorter name"),
    ],
)
def test_what_lies_in_the_way_is_named_with_what_to_do(tmp_path, make, advice):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r".") as caught:
        make(tmp_path)
    assert advice in str(system_error(caught.value))
    assert "look at the disk" not in str(system_error(caught.value))


@pytest.mark.parametrize("word", ["dvc", "params.yaml", "python -m pipeline"])
def test_this_package_says_nothing_of_how_a_project_runs_it(word):
    sources = sorted(FEATURES.rglob("*.py"))
    assert len(sources) > 50
    assert [path for path in sources if word in path.read_text(encoding="utf-8").lower()] == []

from collections import Counter

import pytest

from icebox.features.datasets import docstrings
from icebox.features.datasets.docstrings import Source, first_paragraph, remove_giveaways
from icebox.features.errors import IceboxError
from icebox.features.fingerprint import of_settings

SMALL = ("joblib", "h5py")
DRAWN = "99faf508fe0d986674dfda28dae8fb5ba666d0f9f0e5963cc2b3ccb64aa82907"


@pytest.fixture(scope="module")
def items():
    return list(Source().items())


@pytest.fixture
def libraries(tmp_path, monkeypatch):
    """Makes packages of the given files, importable for this test."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(**files: dict[str, str]) -> tuple[str, ...]:
        for library, sources in files.items():
            for name, code in {"__init__.py": "", **sources}.items():
                path = tmp_path / library / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(code)
        return tuple(files)

    return make


def one(text: str, name: str = "f") -> str:
    return f'def {name}():\n    """{text}"""\n'


@pytest.mark.slow
def test_there_are_thousands_of_items_of_every_library(items):
    counts = Counter(item.label for item in items)
    assert len(items) >= 3000
    assert set(counts) == set(docstrings.LIBRARIES)
    assert min(counts.values()) >= 150


def test_texts_and_ids_are_unique_and_sorted(items):
    assert len(set(map(Source().read, (item.source for item in items)))) == len(items)
    ids = [item.item_id for item in items]
    assert ids == sorted(set(ids))


def test_no_text_names_a_library(items):
    source = Source()
    found = [item for item in items if docstrings.NAMES.search(source.read(item.source))]
    assert found == []


def test_an_id_is_library_file_and_name_and_a_group_is_the_file(libraries):
    method = one("Some method here.").replace("\n", "\n    ")
    made = libraries(lib={"sub/_mod.py": f'class A:\n    """Some class here."""\n    {method}'})
    source = Source(libraries=made, min_words=2)
    found = list(source.items())
    assert [item.source for item in found] == [item.item_id for item in found]
    assert [(i.item_id, source.read(i.source), i.label, i.group) for i in found] == [
        ("lib:sub/_mod.py:A", "Some class here.", "lib", "lib:sub/_mod.py"),
        ("lib:sub/_mod.py:A.f", "Some method here.", "lib", "lib:sub/_mod.py"),
    ]


def test_private_names_tests_and_short_texts_are_left_out(libraries):
    made = libraries(
        lib={
            "a.py": one("A private thing is here.", "_f") + one("Short."),
            "tests/b.py": one("A test thing is here."),
            "c.py": one("This one is to be kept."),
        }
    )
    source = Source(libraries=made, min_words=3)
    assert [source.read(item.source) for item in source.items()] == ["This one is to be kept."]


def test_a_text_of_one_library_comes_once_and_a_text_of_two_not_at_all(libraries):
    made = libraries(
        one={"a.py": one("Twice in a library."), "b.py": one("Twice in a library."), "c.py": one("Shared by both.")},
        two={"c.py": one("Shared by both.")},
    )
    source = Source(libraries=made, min_words=2)
    assert [source.read(item.source) for item in source.items()] == ["Twice in a library."]


def test_a_docstring_that_is_gone_is_one_line(libraries):
    source = Source(libraries=libraries(lib={"a.py": one("Some text that stays.")}), min_words=2)
    assert source.read("lib:a.py:f") == "Some text that stays."
    for reference in ("lib:a.py:g", "lib:b.py:f", "numpy:__init__.py:f", "lib", "Some text that stays."):
        with pytest.raises(IceboxError, match="is no docstring of the installed") as caught:
            source.read(reference)
        assert caught.value.hint == "make the manifest again"


def test_caps_draw_the_same_items_each_time(libraries):
    code = "".join(one(f"Number {i} of many.", f"f{i}") for i in range(20))
    made = libraries(lib={f"m{i}.py": code.replace("many", f"file {i}") for i in range(10)})
    found = list(Source(libraries=made, min_words=2, max_per_file=3, max_per_library=12).items())
    assert len(found) == 12
    assert max(Counter(item.group for item in found).values()) == 3
    assert of_settings([item.item_id for item in found]) == DRAWN


def test_the_order_of_the_libraries_makes_no_difference():
    assert list(Source(libraries=SMALL).items()) == list(Source(libraries=SMALL[::-1]).items())


@pytest.mark.parametrize(
    ("docstring", "expected"),
    [
        ("One line.\n\nAnother.", "One line."),
        ("Two\nlines.\n   \nMore.", "Two\nlines."),
        ("Prose.\nArgs:\n    x: a number", "Prose.\n"),
        ("Prose.\nParameters\n----------", "Prose.\n"),
        ("Prose.\n:param x: a number", "Prose.\n"),
        ("Prose.\nx (`int` of shape `(1,)`): a number", "Prose.\n"),
        ("Prose.\n>>> f(1)", "Prose.\n"),
        ("Returns the inverse.", "Returns the inverse."),
        ("", ""),
    ],
)
def test_only_the_first_paragraphs_prose_is_taken(docstring, expected):
    assert first_paragraph(docstring) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A :class:`~torch.nn.Linear` layer", "A layer"),
        ("See :func:`fit` and ``np.dot(a, b)``.", "See fit and (a, b) ."),
        ("Scikit-learn's and PyTorch's way", "'s and 's way"),
        ("a numpy-like array, an NX graph", "a numpy-like array, an graph"),
        ("the torchbearer is spatial", "the torchbearer is spatial"),
        ("an image\n   tensor", "an image tensor"),
    ],
)
def test_names_and_markup_are_taken_out_and_words_are_left(text, expected):
    assert remove_giveaways(text) == expected


def test_a_library_that_is_not_installed_is_named():
    with pytest.raises(IceboxError, match="'no_such_library', which this environment lacks; pip install it"):
        list(Source(libraries=["no_such_library"]).items())


@pytest.mark.parametrize("name", ["evil.x", "data.raw.x.y", "../../etc", ".x", "nope.b", "a b", "", "x\n", "x;y"])
def test_a_name_that_is_no_identifier_is_refused_and_nothing_is_imported(libraries, tmp_path, name):
    libraries(evil={"__init__.py": f"open({str(tmp_path / 'ran')!r}, 'w')", "x.py": ""})
    with pytest.raises(IceboxError, match="libraries: expected names of installed packages") as caught:
        list(Source(libraries=[name]).items())
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()


def test_a_package_is_read_without_being_imported(libraries, tmp_path):
    code = f"open({str(tmp_path / 'ran')!r}, 'w')\n" + one("Some text is here.")
    (made,) = libraries(evil={"__init__.py": code})
    assert len(list(Source(libraries=[made], min_words=2).items())) == 1
    assert not (tmp_path / "ran").exists()


def test_a_module_of_this_process_without_a_file_is_not_installed():
    with pytest.raises(IceboxError, match="which this environment lacks"):
        list(Source(libraries=["__main__"]).items())


@pytest.mark.parametrize("code", ["def f(:\n", "x = 1\0", "(" * 500 + ")" * 500, "\udcff"])
def test_files_that_are_no_python_are_passed_over_and_counted(libraries, tmp_path, code):
    (made,) = libraries(lib={"a.py": one("Some text is here.")})
    (tmp_path / "lib/b.py").write_bytes(code.encode("utf-8", "surrogateescape"))
    source = Source(libraries=[made], min_words=2)
    assert len(list(source.items())) == 1
    assert [remark.examples for remark in source.account.remarks()] == [["lib:b.py"]]

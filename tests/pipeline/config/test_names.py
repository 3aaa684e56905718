"""Names of entries: words that a shell, a file system, YAML and DVC take as they stand."""

import pytest

from icebox.features.errors import IceboxError
from icebox.pipeline.config import loader, names
from icebox.pipeline.project import init

STORES = "datasets: {d: {source: digits}}\nbackbones: {pixels: {}}\nstores:\n"


@pytest.mark.parametrize("name", ["a", "resnet18", "a-b", "8x8", "digits_2", "a-1-b", "A_b-C_d", "mnist8m", "x" * 64])
def test_words_are_names(name):
    names.check_name(name, "x")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        *((name, "a name is made of") for name in (
            "", "a.b", "..", "a/b", "a b", "-a", "a-", "a--b", "_a", "a;b", "$(a)", "`a`", "a\n", "a'b", 'a"b', "ä",
            "a*", "a\\b", "a@b", "a#b", "{a}", "~", "a|b", "a&b", "a>b", "a\x00", "a\u2028b", "a=b", "a,b", "a:b", "!a",
            "[a]",
        )),
        *((name, "YAML reads this name as") for name in (
            "1", "0", "007", "1_000", "0x1F", "0o17", "1e5", "true", "False", "NULL", "null", "2001-01-01",
        )),
        ("x" * 65, "at most 64 characters, this one 65"),
    ],
)  # fmt: skip
def test_what_is_more_than_a_word_is_none(name, problem):
    with pytest.raises(IceboxError, match=f"heads.x: .*{problem}"):
        names.check_name(name, "heads.x")


@pytest.mark.parametrize("section", ["datasets", "backbones", "pretrain", "stores", "inputs", "heads", "generate"])
def test_the_names_of_every_section_are_checked(section, tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(f"{section}: {{'a;b': {{}}}}")
    with pytest.raises(IceboxError, match=f"{section}.a;b: a name is made of"):
        loader.load(path)


@pytest.mark.parametrize(
    ("stores", "heads", "joined"),
    [(["d", "d-x"], ["x-logreg", "logreg"], "d-x-logreg"), (["a", "a-b", "a-b-c"], ["c-d", "d"], "a-b-c-d")],
)
def test_pairs_that_dvc_would_call_the_same_are_refused(stores, heads, joined, tmp_path):
    path = tmp_path / "params.yaml"
    entries = "".join(f"  {store}: {{dataset: d, backbone: pixels}}\n" for store in stores)
    path.write_text(f"{STORES}{entries}heads: {{{', '.join(f'{head}: {{family: logreg}}' for head in heads)}}}")
    with pytest.raises(IceboxError, match=f"heads: .* on .* and .* on .* would both be called {joined}; give a head"):
        loader.load(path)


@pytest.mark.parametrize("folder", ["2020", "null", "1e5", "my data!", "_", "ä", "x" * 200])
def test_a_new_project_gets_a_name_that_is_one(folder, tmp_path):
    names.check_name(init.dataset_name(tmp_path / folder), "datasets")

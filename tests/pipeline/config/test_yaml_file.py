"""params.yaml as a stranger may have written it: read in bounded time, refused in one line."""

import os
from pathlib import Path

import pytest

from icebox.features.errors import IceboxError
from icebox.pipeline.config import loader
from icebox.pipeline.config.yaml_file import read_yaml

BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 9)}]\n" for i in range(9))


@pytest.fixture
def params(tmp_path: Path) -> Path:
    return tmp_path / "params.yaml"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"a: 1\nb: \xe9", r", line 2: expected UTF-8, found the byte 0xe9$"),
        (b"a: \x00", ": unacceptable character"),
        ("a: " + "9" * 5_000, r", line 1: '9+\.\.\.9+' is no int"),
        ("\na: 2001-99-99", ", line 2: '2001-99-99' is no timestamp"),
        ("a: !!int abc", ", line 1: 'abc' is no int"),
        ("a: !!float abc", ", line 1: 'abc' is no float"),
        ("a: !!bool maybe", ", line 1: 'maybe' is no bool"),
        ('a: "\\UFFFFFFFF"', ": Python int too large"),
        ("a: !!python/name:os.system x", ", line 1: could not determine a constructor"),
        ("a: " + "[" * 5_000, ", line 1: expected at most 50 levels"),
        ("a: " + "{" * 5_000, ", line 1: expected at most 50 levels"),
        ("- " * 5_000, ", line 1: expected at most 50 levels"),
        ("a: [" + "x," * 20_000 + "]", ", line 1: expected at most 10,000 values"),
        (BOMB, ", line 5: expected at most 10,000 values, aliases written out"),
        ("a: &a [*a]", ", line 1: an alias within what it stands for"),
        ("a: &a {b: {c: *a}}", ", line 1: an alias within what it stands for"),
        ("a: *b", ", line 1: found undefined alias 'b'"),
        ("a: 1\na: 2", ', line 2: while constructing a mapping: found duplicate key "a"'),
        ("a:\n  null: 1", ", line 2: expected a text as key, found 'null'; quote it"),
        ("a: {true: 1}", ", line 1: expected a text as key, found 'true'; quote it"),
        ("a: {? [b] : 1}", ", line 1: expected a text as key, found 'seq'; quote it"),
        ("a: {1.5: 1}", r", line 1: expected a text as key, found '1\.5'; quote it"),
        (f"a: {{{'x' * 300}: 1}}", ", line 1: expected a key of at most 200 characters"),
        ("#" * 300_000, ": expected at most 262,144 bytes, found 300,000"),
        ("", ": expected sections, found None"),
        ("[]", r": expected sections, found \[\]"),
        ("x" * 9_000, r": expected sections, found 'x+\.\.\.x+'$"),
        ("a: 1\n---\nb: 2", ", line 2: expected a single document"),
        ("a: [1", ", line 1: while parsing a flow sequence"),
    ],
)
def test_what_is_no_plain_yaml_is_refused_by_its_line(content, problem, params):
    params.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(IceboxError, match=rf"params\.yaml({problem})") as caught:
        read_yaml(params)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 600


def test_aliases_merges_numbered_keys_and_a_byte_order_mark_are_read(params):
    params.write_text("\ufeffbase: &base {a: 1}\nother: {<<: *base, b: 2}\nfree: {0: last 1}\nagain: &base 3\n")
    assert read_yaml(params) == {"base": {"a": 1}, "other": {"a": 1, "b": 2}, "free": {0: "last 1"}, "again": 3}


def test_what_is_no_file_is_refused(params):
    with pytest.raises(IceboxError, match=r"params\.yaml: not found; run this in the project's root folder"):
        read_yaml(params)
    params.mkdir()
    with pytest.raises(IceboxError, match=r"params\.yaml: expected a file, found a folder"):
        read_yaml(params)
    params.rmdir()
    os.mkfifo(params)
    with pytest.raises(IceboxError, match=r"params\.yaml: expected a file, found a pipe"):
        read_yaml(params)


@pytest.mark.parametrize(
    "text",
    [
        "backbones: {pixels: {1: 8}}",
        "backbones: {pixels: {size: [%s]}}" % ("x" * 90_000),
        'backbones: {"a\\u2028b": {}}',
        'backbones: {pixels: {"si\\nze": 1}}',
        "datasets: {digits: {task: %s}}" % ("x" * 90_000),
        "heads: {logreg: {1: 2}}",
    ],
)
def test_an_error_is_one_short_line_whatever_stands_in_the_file(text, params):
    params.write_text(text)
    with pytest.raises(IceboxError) as caught:
        loader.load(params)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 2_000

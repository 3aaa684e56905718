import os

import pytest

from icebox.features.errors import IceboxError
from icebox.features.json_files import POSITIVE, read_json

SHAPE = {"width": POSITIVE, "names": [str], "keep": frozenset({"first", "last"}), "inner": {"rate": float}}
WHOLE = '{"width": 4, "names": ["a"], "keep": "last", "inner": {"rate": 1}, "other": null}'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "expected JSON, found Expecting value"),
        ("null", "expected an object, found None"),
        ("[]", r"expected an object, found \[\]"),
        ("{}", "expected the key 'width', found none"),
        ("[" * 10_000, "expected JSON, found"),
        ("1" * 5_000, "expected JSON, found Exceeds the limit"),
        (WHOLE.replace("4", "4.0"), r"a whole number from 1 to 2147483647 at width, found 4\.0"),
        (WHOLE.replace("4", "true"), "a whole number from 1 to 2147483647 at width, found True"),
        (WHOLE.replace("4", "9" * 4_000), r"a whole number .* at width, found 9+\.\.\.9+$"),
        (WHOLE.replace('"a"', "1"), r"a text at names\[0\], found 1"),
        (WHOLE.replace('"a"', '"a", null'), r"a text at names\[1\], found None"),
        (WHOLE.replace("last", "lost\\n" * 9_000), r"one of first, last at keep, found 'lost\\n"),
        (WHOLE.replace("1}", '"1"}'), r"a number at inner\.rate, found '1'"),
        (WHOLE.replace('"rate"', '"rite"'), "the key 'rate' at inner, found none"),
    ],
)
def test_what_is_not_of_the_shape_is_refused_in_one_line(text, problem, tmp_path):
    path = tmp_path / "x.json"
    path.write_text(WHOLE)
    assert read_json(path, SHAPE)["width"] == 4
    path.write_text(text)
    with pytest.raises(IceboxError, match=rf"x\.json: expected .*{problem.removeprefix('expected ')}") as caught:
        read_json(path, SHAPE)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 500


def test_what_is_no_readable_file_is_refused_with_its_hint(tmp_path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")  # opening it would wait for ever
    (tmp_path / "latin").write_bytes(b'"\xe9"')
    problems = {"folder": "found a folder", "pipe": "found a pipe", "latin": "'utf-8' codec", "nothing": "not found"}
    for name, problem in problems.items():
        with pytest.raises(IceboxError, match=f"{name}: .*{problem}") as caught:
            read_json(tmp_path / name, dict, hint="make the backbone again", backbone="b")
        assert caught.value.hint == "make the backbone again"

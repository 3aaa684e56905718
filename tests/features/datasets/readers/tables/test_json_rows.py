import gzip
import json

import pytest

from icebox.features.datasets.readers.tables import json_rows, text_files
from icebox.features.datasets.readers.tables import table as table_module
from icebox.features.datasets.readers.tables.table import Table
from icebox.features.errors import IceboxError

REQUESTED = [("text", "text"), ("label", "label")]
RECORDS = [{"text": "river", "label": 1}, {"text": "stone\nhill"}]


def cells(path, content: str | bytes) -> list[tuple[str, list[str]]]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return [(row.where.rpartition(", ")[2], row.cells) for row in Table(path=path).rows(REQUESTED)]


@pytest.mark.parametrize("name", ["t.json", "t.jsonl"])
@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("before", ["", "\n \n", "\ufeff"])
def test_an_array_of_objects_is_a_table(tmp_path, name, indent, before):
    found = cells(tmp_path / name, before + json.dumps(RECORDS, indent=indent))
    assert found == [("element 0", ["river", "1"]), ("element 1", ["stone\nhill", ""])]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[" * 200_000, "expected an array of objects"),
        ('{"a": ' * 200_000, "line 1: expected one JSON object a line"),
        ('{"label": ' + "9" * 5000 + "}", "line 1: expected one JSON object a line"),
        ('[{"text": "a"}', "expected an array of objects"),
        ('[{"text": "a"}]\n[{"text": "b"}]', "expected an array of objects"),
        ("[1, 2]", "element 0: expected a JSON object, found '1'"),
        (
            '{\n "data": [{"text": "a"}],\n "version": 1\n}',
            "one object with the keys data, version; write its rows",
        ),
        ('{"text": "a", "label": 1}\n[1]', r"line 2: expected a JSON object, found '\[1\]'"),
        ("[]", "is empty"),
        ('{"text": "a", "label": 1, "label": 2}', "line 1: expected one JSON .*: the key 'label' stands there twice"),
        ('[{"text": "a", "text": "b", "label": 1}]', "the key 'text' stands there twice"),
    ],
)
def test_what_is_no_table_is_one_line(tmp_path, content, message):
    with pytest.raises(IceboxError, match=message) as caught:
        cells(tmp_path / "t.json", content)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("lines", [True, False])
def test_rows_out_of_all_proportion_to_the_file_are_refused(tmp_path, monkeypatch, lines):
    monkeypatch.setattr(table_module, "CHARACTERS_FREE", 1000)
    records = [{"text": "x" * 1000, "label": 1}] * 1000
    content = "\n".join(map(json.dumps, records)) if lines else json.dumps(records)
    with pytest.raises(IceboxError, match=r"times as large as the file|far larger than the file"):
        cells(tmp_path / "t.json.gz", gzip.compress(content.encode()))


def test_an_array_may_be_one_long_line_and_a_row_may_not(tmp_path, monkeypatch):
    for module in (json_rows, text_files):
        monkeypatch.setattr(module, "LONGEST_LINE_CHARACTERS", 20)
    assert len(cells(tmp_path / "t.json", json.dumps(RECORDS))) == 2
    with pytest.raises(IceboxError, match="line 1: has 20 characters or more"):
        cells(tmp_path / "t.jsonl", json.dumps(RECORDS[0]))
    with pytest.raises(IceboxError, match="line 3: has 20 characters or more"):
        cells(tmp_path / "t.jsonl", '{"text": 1}\n\n{"text": "ten or more"}')

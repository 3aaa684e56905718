import pytest

from icebox.features.abc.account import Account
from icebox.features.datasets.readers.tables.table import Table
from icebox.features.errors import IceboxError

REQUESTED = [("text", "text"), ("label", "label")]


@pytest.fixture
def write(tmp_path):
    def table(content: str, **settings) -> Table:
        (tmp_path / "t.csv").write_text(content)
        return Table(path=tmp_path / "t.csv", **settings)

    return table


def cells(table: Table) -> list[list[str]]:
    return [row.cells for row in table.rows(REQUESTED)]


GOOD = "".join(f'"river, boat {i}",yes\n' for i in range(39))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('"river boat, "big" fish",yes\n', "line 41: ',' expected after '\"'"),
        ('"two\nlines, "big" fish",yes\n', "lines 41 to 42: ',' expected"),
        ('"never closed,yes\n', "lines 41 to 44: a quote opens in this row and is never closed"),
        ('"a \\"fish\\" b",yes\n', r"line 41: .* set `escape` to .*, as '\\' is here"),
    ],
)
def test_a_broken_quote_is_named_with_its_lines_and_the_settings_that_read_it(write, row, message):
    table = write(f"text,label\n{GOOD}{row}a,yes\nb,yes\nc,yes\n")
    with pytest.raises(IceboxError, match=f"can't read .*{message}") as caught:
        cells(table)
    assert "`quotes: false`" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_quotes_that_are_escaped_are_read_on_request(write):
    table = write('"text","label"\n"a \\"fish\\", b","yes"\n"two ""fish""","no"\n', escape="\\")
    assert cells(table) == [['a "fish", b', "yes"], ['two "fish"', "no"]]


@pytest.mark.parametrize("settings", [{"escape": "ab"}, {"delimiter": "::"}, {"delimiter": ""}])
def test_settings_that_csv_refuses_are_named(write, settings):
    if settings == {"delimiter": ""}:
        assert cells(write("text,label\na,b\n", **settings)) == [["a", "b"]]  # none, as if it were not there
        return
    (name,) = settings
    with pytest.raises(IceboxError, match=rf"can't read .* {name} '{settings[name]}'"):
        cells(write("text,label\na,b\n", **settings))


def test_blanks_around_a_columns_name_do_not_count(write):
    assert cells(write("text, label \na,b\n")) == [["a", "b"]]
    assert cells(write("text ,text,label\na,b,c\n")) == [["b", "c"]]


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_another_delimiter_is_recognized_and_named(write, delimiter):
    with pytest.raises(IceboxError, match="set `delimiter` to ") as caught:
        cells(write(f"text{delimiter}label\na{delimiter}b\n"))
    assert repr(delimiter) in str(caught.value)


def test_blank_lines_between_rows_are_counted_and_those_at_the_end_are_not(write):
    account = Account()
    rows = list(write("text,label\n\na,b\n\n\nc,d\n\n").rows(REQUESTED, account))
    assert [row.cells for row in rows] == [["a", "b"], ["c", "d"]]
    assert [(remark.description, remark.count) for remark in account.remarks()] == [("blank lines between rows", 3)]


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        ("sep=;\ntext;label\na;b\n", "delete the file's first line, a note for Excel, and set `delimiter` to ';'"),
        ("<!DOCTYPE html>\n<title>Sign in</title>\n", "a page of the web in the table's place"),
        ("text|label\na|b\n", "set `delimiter` to '|'"),
    ],
)
def test_a_first_line_without_names_of_columns_is_explained(write, content, advice):
    with pytest.raises(IceboxError) as caught:
        cells(write(content))
    assert advice in str(caught.value)


def remarks(table: Table) -> tuple[list[list[str]], list[str]]:
    account = Account()
    rows = [row.cells for row in table.rows(REQUESTED, account)]
    return rows, [remark.sentence() for remark in account.remarks()]


def test_a_header_in_the_middle_is_no_row_and_is_told(write):
    rows, said = remarks(write("text,label\na,x\ntext,label\ntext,y\n"))
    assert rows == [["a", "x"], ["text", "y"]]
    assert [line.partition(":")[0] for line in said] == [
        "lines that repeat the first, with the names of columns, left out"
    ]
    assert cells(write("text,label\na,x\na,x\n")) == [["a", "x"]] * 2
    assert [row.cells for row in write("text\na\ntext\n").rows(REQUESTED[:1])] == [["a"], ["text"]]


def test_a_quote_after_a_blank_is_told_and_one_within_a_text_is_not(write):
    rows, said = remarks(write('text,label\n"a, b", "x"\nc "d", y\n'))
    assert rows == [["a, b", ' "x"'], ['c "d"', " y"]]
    assert said[0].startswith("rows with a blank before a quote, which makes the quotes a part of the text: 1, ")

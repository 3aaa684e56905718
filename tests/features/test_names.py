import pytest

from icebox.features.names import canonical_name, in_line, merged_spellings


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("1.0", "1"),
        ("105.00", "105"),
        ("-0.0", "0"),
        ("-3.0", "-3"),
        (" cat ", "cat"),
        ("True", "true"),
        ("FALSE", "false"),
        ("1e+16", "10000000000000000"),
        ("cafe\u0301", "caf\u00e9"),
        ("2024-05-01 00:00:00", "2024-05-01"),
        ("cat\u200b", "cat"),
        ("\ufeff cat\u00a0", "cat"),
        ("\u200fשלום", "שלום"),
        ("2024-05-01T00:00:00.000", "2024-05-01"),
        ("2024-05-01T12:30:00", "2024-05-01 12:30:00"),
        ("2024-05-01 12:30:00.250000", "2024-05-01 12:30:00.25"),
        ("2024-05-01T00:00:00Z", "2024-05-01 00:00:00+00:00"),
    ],
)
def test_spellings_of_one_value_have_one_normal_form(text, name):
    assert canonical_name(text) == name


@pytest.mark.parametrize(
    "text",
    [
        "01",
        "01.0",
        "1.10",
        "2.5",
        "1.",
        ".0",
        "1e5",
        "tRUE",
        "+1",
        "v1.0",
        "",
        "1,0",
        "٣.0",
        "2024-05-01",
        "2024-05-01 00:00",
        "a\u200cb",
        "1.5.2024 00:00:00",
    ],
)
def test_other_texts_stay_as_they_are(text):
    assert canonical_name(text) == text


def test_only_names_with_several_spellings_are_renamed():
    assert merged_spellings(["1", "1.0", "2.0", "01", "True"]) == {"1": "1", "1.0": "1"}
    assert merged_spellings(["1.0", "2.0"]) == {}


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("café.png", "café.png"),
        ("a\nb", "a\\nb"),
        ("a\u2028b", "a\\u2028b"),
        ("\0", "\\x00"),
        ("x" * 81, "x" * 80 + "…"),
    ],
)
def test_a_name_in_a_line_is_short_and_has_no_line_ends(name, shown):
    assert in_line(name) == shown

import pytest

from icebox.features.abc.dataset import Item
from icebox.features.errors import IceboxError
from icebox.features.manifest.listing import list_items

GOOD = Item(item_id="good", source="1", label="a")


def item(item_id: str = "x", label: str = "b", **others) -> Item:
    return Item(item_id=item_id, source="2", label=label, **others)


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([], "expected items, found none"),
        ([item("x"), item("x")], "expected unique item ids, found 1 repeated: x"),
        ([GOOD, item(label=""), item("y", label=" \t")], "found none for 2 of 3: x, y; label them"),
        ([GOOD, item(split="dev")], "item 'x': expected a split of train, val, test or test-NAME .* found 'dev'"),
        ([GOOD, item(split="test-Über")], "found 'test-Über'"),
        ([GOOD, item(label="a")], "expected at least two different labels, found 'a' for all of 2 items"),
        ([GOOD, item(label="b\0")], r"item 'x': its label holds a NUL character, found 'b\\x00'"),
        ([GOOD, item("caf\ud83d")], r"item 'caf\\ud83d': '\\ud83d' is half of a character"),
        ([GOOD, item(slices={"gen,re": "x"})], "slice 'gen,re': a slice's name is made of letters, digits and '_'"),
    ],
)
def test_what_makes_no_sense_is_refused(items, message):
    with pytest.raises(IceboxError, match=message):
        list_items(items)


def test_any_language_and_any_further_test_set_is_fine():
    list_items([GOOD, item("снимок 📷", label="猫", split="test-mis_matched.2", slices={"жанр": "é"})])


@pytest.mark.parametrize("label", ["three", "nan", "inf", "1,5"])
def test_a_regressions_labels_must_be_finite_numbers(label):
    with pytest.raises(IceboxError, match=f"item 'x': expected a finite number as its label .* found '{label}'"):
        list_items([item("1", "1.5"), item(label=label)], "regression")
    list_items([item("1", "-1.5e3"), item("2", "7")], "regression")


def test_a_regressions_labels_must_have_squares():
    with pytest.raises(IceboxError, match=r"item 'x': expected a label of size 1e.100 at most .* found '-1e300'"):
        list_items([item("1", "1.5"), item(label="-1e300")], "regression")
    list_items([item("1", "-1e100"), item("2", "1e-300")], "regression")
    with pytest.raises(IceboxError, match=r"expected a label of size 1e-100 at least .* smaller ones only"):
        list_items([item("1", "1e-150"), item("2", "-3e-160")], "regression")
    with pytest.raises(IceboxError, match="found '2' for all of 2 items"):
        list_items([item("1", "2"), item("2", "2.0")], "regression")


@pytest.mark.parametrize("field", ["item_id", "label", "group", "year"])
@pytest.mark.parametrize(("text", "refused"), [("x" * 4096, False), ("x" * 4097, True), ("ü" * 2049, True)])
def test_names_of_more_than_four_kilobytes_are_refused(field, text, refused):
    values = {"item_id": "1", "label": "a", "group": ""} | ({} if field == "year" else {field: text})
    items = [
        Item(source="", slices={"year": text if field == "year" else ""}, **values),
        Item(item_id="2", source="", label="b"),
    ]
    if not refused:
        list_items(items)
        return
    with pytest.raises(IceboxError, match=r"its (id|label|group|year) takes 4,09[78] bytes") as caught:
        list_items(items)
    assert len(str(caught.value)) < 300

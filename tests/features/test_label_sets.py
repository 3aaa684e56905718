import pytest

from icebox.features import label_sets


def test_a_set_is_one_text_whatever_the_order_and_repeats():
    assert label_sets.join(["tree", "car", "tree"]) == label_sets.join(["car", "tree"]) == '["car", "tree"]'
    assert label_sets.join([]) == "[]"


@pytest.mark.parametrize("names", [[], ["a|b", "c"], ['"', "\\", ","], ["é", "日本"], ["a", "a "]])
def test_the_names_come_back_whatever_characters_they_hold(names):
    assert label_sets.split(label_sets.join(names)) == tuple(sorted(set(names)))


@pytest.mark.parametrize(
    "text", ["", "a", "a|b", '["b", "a"]', '["a", "a"]', '["a",  "b"]', "[1]", '[""]', "null", "["]
)
def test_any_other_text_is_refused(text):
    with pytest.raises(ValueError, match=r"list|distinct|Expecting"):
        label_sets.split(text)


def test_no_label_is_told_in_words():
    assert label_sets.in_words(label_sets.split("[]")) == "(none)"
    assert label_sets.in_words(("a", "b")) == "a, b"

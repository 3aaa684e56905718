"""Five items judged by hand; classes a, b, c."""

import numpy as np

from pipeline import judged

LABELS, PREDICTED = [0, 0, 0, 1, 2], [0, 1, 1, 1, 0]


def seen(*, sure: list[float] | None = None, predicted: list[int] | None = None) -> judged.Judged:
    return judged.Judged(
        classes=["a", "b", "c"],
        item_ids=["v", "w", "x", "y", "z"],
        labels=np.array(LABELS),
        predicted=np.array(predicted or PREDICTED),
        sure=np.array(sure or [0.9, 0.5, 0.7, 0.8, 0.7]),
        measure="confidence",
    )


def test_confusion_has_actual_rows_and_predicted_columns():
    assert seen().confusion().tolist() == [[1, 2, 0], [0, 1, 0], [1, 0, 0]]
    assert seen().wrong == 3


def test_the_surest_mistakes_come_first_and_equals_in_the_items_order():
    assert seen().mistakes(2) == [2, 4]
    assert seen().mistakes(9) == [2, 4, 1]


def test_pairs_are_the_commonest_confusions_with_their_share_of_the_actual_class():
    assert judged.pairs(seen(), 9) == [
        {"actual": "a", "predicted": "b", "count": 2, "share": 2 / 3},
        {"actual": "c", "predicted": "a", "count": 1, "share": 1.0},
    ]
    assert len(judged.pairs(seen(), 1)) == 1


def test_a_lead_is_over_the_best_other_class_and_negative_where_the_head_went_against_its_scores():
    scores = np.array([[3.0, 1.0, 2.5], [1.0, 4.0, 0.0]])
    assert judged.lead(scores, np.array([0, 0])).tolist() == [0.5, -3.0]


def test_won_and_lost_count_what_only_one_of_two_got_right():
    other = seen(predicted=[1, 0, 0, 1, 0])
    assert judged.won_and_lost(seen(), other) == (1, 2)


def test_heads_judged_on_different_items_are_not_compared():
    one, other = seen(), seen()
    other.item_ids[0] = "another"
    assert judged.won_and_lost(one, other) is None


def test_the_commonest_of_equals_is_the_first_by_name():
    assert judged.commonest(["b", "a", "c", "b", "a"]) == ("a", 0.4)

import itertools

import pytest

from benchmarks.kneser_ney import KneserNey

TEXT = [0, 1, 2, 0, 1, 3, 0, 1, 2, 4, 2, 0, 0, 3, 1, 2, 2, 1, 0, 4]


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_the_probabilities_of_all_words_sum_to_1_behind_any_words(order):
    model = KneserNey(TEXT, order=order, words=6)
    for before in [(), *itertools.product(range(6), repeat=2), (0, 1, 2, 0), (5, 5, 5, 5)]:
        assert sum(model.probability(word, before) for word in range(6)) == pytest.approx(1)


def test_a_bigram_model_worked_out_by_hand():
    model = KneserNey([0, 1, 0, 1, 0, 2], order=2, words=4)
    # bigrams 01 ×2, 10 ×2, 02: every discount 0.75, for want of counts; behind 0: 1 twice, 2 once
    unigram = {0: 1, 1: 1, 2: 1, 3: 0}  # before how many words each is found
    lower = {word: max(count - 0.75, 0) / 3 + 3 * 0.75 / 3 / 4 for word, count in unigram.items()}
    assert model.probability(1, (0,)) == pytest.approx((2 - 0.75) / 3 + 2 * 0.75 / 3 * lower[1])
    assert model.probability(3, (0,)) == pytest.approx(2 * 0.75 / 3 * lower[3])
    assert model.probability(2, (3,)) == pytest.approx(lower[2])  # 3 was never seen: the shorter h decides


def test_perplexity_of_a_text_as_long_as_one_word():
    model = KneserNey(TEXT, order=2, words=6)
    assert model.perplexity([2], first=1) == pytest.approx(1 / model.probability(2, (1,)))

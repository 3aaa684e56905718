from collections import Counter

import pytest

from icebox.features.text import tokenization

SPLIT_UP = [
    ("It's the dog's.", "It 's the dog 's ."),
    ("He didn't say so", "He didn 't say so"),
    ("a role-playing game", "a role @-@ playing game"),
    ("10,000 of 2.5, or so", "10 @,@ 000 of 2 @.@ 5 , or so"),
    ("(yes; no!) [50%]", "( yes ; no ! ) [ 50 % ]"),
    ("the U.S. and Mr. Smith", "the U.S. and Mr. Smith"),
    ("for instance, e.g. this", "for instance , e.g. this"),
    ('She said "so".', 'She said " so " .'),
    ("“so” they say…", '" so " they say …'),
    ("", ""),
    ("<unk> is <b>.", "<unk> is < b > ."),
    ("role @-@ playing , 10 @,@ 000 @.@ 5", "role @-@ playing , 10 @,@ 000 @.@ 5"),
    (" \n\t ", ""),
    ("naïve café 北京", "naïve café 北京"),
    ("the dogs' tails", "the dogs ' tails"),
]


@pytest.mark.parametrize(("text", "expected"), SPLIT_UP)
def test_text_is_cut_up_as_wikitext_is(text, expected):
    assert tokenization.tokenize(text) == expected.split()


def test_what_is_cut_up_and_joined_is_the_text_again():
    text = 'The role-playing game (10,000.5 of them) didn\'t end; "so", he said: yes.'
    assert tokenization.detokenize(tokenization.tokenize(text)) == text


def test_every_line_of_a_file_ends_with_a_word_of_its_own_blank_ones_too():
    assert tokenization.tokenize_lines(" \n = A = \n \n b c \n") == [
        "<eos>",
        "=",
        "A",
        "=",
        "<eos>",
        "<eos>",
        "b",
        "c",
        "<eos>",
    ]
    assert tokenization.tokenize_lines("a b") == ["a", "b", "<eos>"]


def test_a_vocabulary_begins_with_the_most_frequent_and_has_the_two_words_that_are_needed():
    found = tokenization.vocabulary(["b", "a", "b", "c", "c", "b"])
    assert found == ["b", "c", "a", "<eos>", "<unk>"]
    assert Counter(tokenization.vocabulary(["<unk>", "<eos>"])) == {"<unk>": 1, "<eos>": 1}

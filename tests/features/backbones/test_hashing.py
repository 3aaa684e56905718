import subprocess
import sys

import numpy as np
import pytest

from icebox.features import plugins
from icebox.features.abc.dataset import Pair
from icebox.features.backbones import hashing
from icebox.features.errors import IceboxError, ItemError
from icebox.pipeline.config import plugin_schema

PLACES = [(1550, 1), (2399, -1), (672, 1)]


def encoded(folder, *texts: str, dimensions: int = 4096) -> np.ndarray:
    hashing.fetch(folder, dimensions=dimensions)
    network = hashing.load(folder, outputs=["last"], device="cpu")
    return network.encode([network.prepare(text) for text in texts])["last"]


def test_values_by_hand(tmp_path):
    row = encoded(tmp_path, "A cat, a cat")[0]
    weights = {"a": 1 + np.log(2), "cat": 1 + np.log(2), "a cat": 1 + np.log(2), "cat a": 1}
    length = np.sqrt(sum(weight**2 for weight in weights.values()))
    expected = np.zeros(4096)
    for gram, weight in weights.items():
        bucket, sign = hashing.bucket_and_sign(gram, 4096)
        expected[bucket] += sign * weight / length
    np.testing.assert_allclose(row, expected, atol=1e-7)


def test_in_a_pair_a_word_counts_for_its_side(tmp_path):
    hashing.fetch(tmp_path, dimensions=4096)
    network = hashing.load(tmp_path, outputs=["last"], device="cpu")
    pairs = [Pair("a cat", "dogs"), Pair("dogs", "a cat"), Pair("A cat.", "Dogs!"), Pair("a cat dogs", "")]
    one, turned, same, moved = network.encode([network.prepare(pair) for pair in pairs])["last"]
    np.testing.assert_array_equal(one, same)
    assert one @ turned == 0
    assert 0 < one @ moved < 0.99
    ngrams = ["first: a", "first: cat", "first: a cat", "second: dogs"]
    assert set(np.flatnonzero(one)) == {hashing.bucket_and_sign(gram, 4096)[0] for gram in ngrams}


def test_a_word_has_the_same_place_on_every_machine():
    assert [hashing.bucket_and_sign(word, 4096) for word in ("matrix", "naïve", "of the")] == PLACES


def test_texts_that_share_words_are_nearer_than_texts_that_share_none(tmp_path):
    cat, cats, plot = encoded(tmp_path, "the cat sat here", "here sat the cat", "draws one line plot")
    assert cat @ cats > 0.5 > abs(cat @ plot)


def test_signs_let_collisions_cancel_out(tmp_path):
    words = " ".join(f"word{i}" for i in range(2000))
    row = encoded(tmp_path, words, dimensions=16)[0]
    assert (row > 0).any()
    assert (row < 0).any()


def test_a_text_without_a_word_is_zero(tmp_path):
    np.testing.assert_array_equal(encoded(tmp_path, "", " …! "), np.zeros((2, 4096), np.float32))


def test_any_text_can_be_hashed(tmp_path):
    assert np.isfinite(encoded(tmp_path, "\ud800 lone surrogate", "北京 ☃", "a" * 10_000)).all()


def test_the_fingerprint_hangs_on_the_dimensions(tmp_path):
    specs = []
    for dimensions in (8, 16):
        hashing.fetch(tmp_path, dimensions=dimensions)
        specs.append(hashing.load(tmp_path, outputs=["last"], device="cpu").spec)
    assert specs[0] != specs[1]


def test_an_unknown_output_is_refused(tmp_path):
    hashing.fetch(tmp_path)
    with pytest.raises(IceboxError, match="hashing has no 'last:mean'; did you mean 'last'"):
        hashing.load(tmp_path, outputs=["last:mean"], device="cpu")


def test_no_dimensions_are_refused(tmp_path):
    file = plugins.file("icebox.features.backbones", "hashing")
    with pytest.raises(IceboxError, match=r"backbones\.h\.dimensions: expected int at least 1.*, found 0$"):
        plugin_schema.check(file, "fetch", {"dimensions": 0}, where="backbones.h")
    hashing.fetch(tmp_path, dimensions=0)  # what Python gives unchecked never becomes features
    with pytest.raises(IceboxError, match=r"backbone\.json: expected a whole number from 1 .* at dimensions, found 0$"):
        hashing.load(tmp_path, outputs=["last"], device="cpu")


def test_content_that_is_no_text_is_an_item_error(tmp_path):
    hashing.fetch(tmp_path)
    with pytest.raises(ItemError, match="expected a text or a pair, found bytes"):
        hashing.load(tmp_path, outputs=["last"], device="cpu").prepare(b"x")


def test_it_does_not_import_torch():
    code = "import sys, features.backbones.hashing; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)

"""Near-duplicates found among texts: copies in other case, with other punctuation, without a word, and as retweets.

Run anywhere: python -m benchmarks.near_duplicate_texts TABLE COLUMN [COPIES] [TEXTS] [OPTION=VALUE …]

TABLE is read by csv_text, whose options may follow (header=false, encoding=latin-1, clean=[links]); COLUMN is that of
the texts, of which the first TEXTS different ones are taken. A quarter of the copies each: all in capitals, or all
small; punctuation left out, or put at the end; one word left out; `RT @name: ` before the text. A pair that is none of
these counts as right where the two share half of their words: texts sent twice, and those that differ in a name.
Figures by half: of pairs whose first text has an even number, and an odd one.
"""

import re
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

import icebox
from icebox.pipeline.catalog import datasets
from icebox.pipeline.data import near_duplicates
from icebox.pipeline.inference.reading.new_items import parse_setting

KINDS = ("case", "punctuation", "a word dropped", "retweet")
WORDS_MIN = 6  # of a text that is copied: with fewer, one word dropped is another text
SHARED_MIN = 0.5  # of the words of two texts, by which they count as copies
OUTPUTS = {"minilm": ["last:mean"], "hashing": None}
Pairs = set[tuple[int, int]]


def copy(text: str, number: int, random: np.random.Generator) -> str:
    """The copy of a text whose kind follows from its number."""
    kind, other = KINDS[number % len(KINDS)], number // len(KINDS) % 2
    if kind == "case":
        return text.upper() if other else text.lower()
    if kind == "punctuation":
        return f"{text}!!" if other else re.sub(r"[^\w\s@#]", "", text)
    if kind == "retweet":
        return f"RT @{('someone', 'news24')[other]}: {text}"
    words = text.split()
    del words[int(random.integers(len(words)))]
    return " ".join(words)


def hidden_copies(texts: Sequence[str], copies: int, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Copies of as many different texts, and the positions of these (copies,)."""
    random = np.random.default_rng(seed)
    long = np.flatnonzero([len(text.split()) >= WORDS_MIN for text in texts])
    originals = random.permutation(long)[:copies]
    return [copy(texts[i], number, random) for number, i in enumerate(originals)], originals


def share_words(first: str, second: str) -> bool:
    """Whether two texts share SHARED_MIN of their words (Jaccard's index)."""
    words, others = (set(re.sub(r"[^\w\s]", "", text.lower()).split()) for text in (first, second))
    return len(words & others) >= SHARED_MIN * max(1, len(words | others))


def encoded(texts: Sequence[str], backbone: str, **options: Any) -> np.ndarray:
    """Features (n, d) of texts."""
    return np.asarray(icebox.Encoder(backbone, outputs=OUTPUTS[backbone], **options).fit_transform(texts))


def pairs_among(features: np.ndarray) -> Pairs:
    """The pairs that are found among features (n, d)."""
    n = len(features)
    near = near_duplicates.find(lambda items: features[items], n, np.arange(n))
    return {(pair.first, pair.second) for pair in near.pairs}


def recall_and_precision(texts: Sequence[str], hidden: Pairs, found: Pairs) -> tuple[float, float]:
    """The share of hidden pairs that are found, and of found ones that are copies."""
    right = [pair for pair in found if pair in hidden or share_words(texts[pair[0]], texts[pair[1]])]
    return len(found & hidden) / len(hidden), len(right) / max(1, len(found))


def main(table: str, column: str, copies: int = 240, most: int = 6000, *settings: str) -> None:
    """Print recall and precision, also by half, and what was found of each kind of copy."""
    text = int(column) if column.isdecimal() else column
    source = datasets.opened("csv_text", {"path": table, "text": text, **dict(map(parse_setting, settings))})
    texts = list(dict.fromkeys(str(source.read(item.source)) for item in source.items()))[:most]
    made, originals = hidden_copies(texts, copies)
    hidden = {(int(i), len(texts) + number) for number, i in enumerate(originals)}
    for backbone in OUTPUTS:
        found = pairs_among(encoded([*texts, *made], backbone))
        recall, precision = recall_and_precision([*texts, *made], hidden, found)
        print(f"{backbone}: {copies} copies among {len(texts):,} texts: recall {recall:.3f}, precision {precision:.3f}")
        for half, name in enumerate(("even", "odd")):
            parts = ({pair for pair in pairs if pair[0] % 2 == half} for pairs in (hidden, found))
            recall, precision = recall_and_precision([*texts, *made], *parts)
            print(f"  {name}: recall {recall:.3f}, precision {precision:.3f}")
        for number, kind in enumerate(KINDS):
            of_kind = [pair for pair in sorted(hidden) if (pair[1] - len(texts)) % len(KINDS) == number]
            print(f"  {kind}: {sum(pair in found for pair in of_kind)} of {len(of_kind)}")


if __name__ == "__main__":
    main(*sys.argv[1:3], *map(int, sys.argv[3:5]), *sys.argv[5:])

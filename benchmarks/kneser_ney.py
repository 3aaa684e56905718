"""Baseline n-gram model: interpolated modified Kneser–Ney (Chen and Goodman 1999), over running text.

Letters: w a word, h the words before it.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise

Gram = tuple[int, ...]


class KneserNey:
    """Probabilities of the next word from up to `order` - 1 words before it, of a vocabulary of `words` numbers."""

    def __init__(self, text: Sequence[int], *, order: int, words: int) -> None:
        self.order, self.words = order, words
        self.counts: list[Counter[Gram]] = [Counter()] * order  # by length - 1; shorter ones count what precedes them
        self.counts[-1] = Counter(zip(*(text[i:] for i in range(order)), strict=False))
        whole = self.counts[-1]
        for length in range(order - 1, 0, -1):
            whole = Counter(zip(*(text[i:] for i in range(length + 1)), strict=False))
            self.counts[length - 1] = Counter(gram[1:] for gram in whole)
        self.discounts = [discounts(counts) for counts in self.counts]
        self.totals: list[dict[Gram, tuple[int, float]]] = [
            totals(counts, discount) for counts, discount in zip(self.counts, self.discounts, strict=True)
        ]

    def probability(self, word: int, before: Gram) -> float:
        """p(w | h), where only the last `order` - 1 words of h count."""
        p = 1 / self.words
        for length in range(1, self.order + 1):
            h = before[len(before) - length + 1 :] if length > 1 else ()
            if len(h) < length - 1 or h not in self.totals[length - 1]:
                break
            total, given_back = self.totals[length - 1][h]
            count = self.counts[length - 1].get((*h, word), 0)
            p = (count - discounted(count, self.discounts[length - 1])) / total + given_back / total * p
        return p

    def perplexity(self, text: Sequence[int], *, first: int) -> float:
        """Of every word of a text; `first` is what stands before its first word."""
        running = [first, *text]
        logs = [
            math.log(self.probability(running[i], tuple(running[max(0, i - self.order + 1) : i])))
            for i in range(1, len(running))
        ]
        return math.exp(-math.fsum(logs) / len(logs))


def discounts(counts: Counter[Gram]) -> tuple[float, float, float]:
    """Discounts of a count of 1, of 2 and of 3 or more, by how many grams have each; 0.75 where that is 0."""
    n = Counter(counts.values())
    if not all(n[c] for c in (1, 2, 3, 4)):
        return 0.75, 0.75, 0.75
    y = n[1] / (n[1] + 2 * n[2])
    d1, d2, d3 = (c - (c + 1) * y * b / a for c, (a, b) in enumerate(pairwise([n[1], n[2], n[3], n[4]]), start=1))
    return d1, d2, d3


def discounted(count: int, discount: tuple[float, float, float]) -> float:
    """The discount of this count."""
    return discount[min(count, 3) - 1] if count else 0.0


def totals(counts: Counter[Gram], discount: tuple[float, float, float]) -> dict[Gram, tuple[int, float]]:
    """h → (the sum of its grams' counts, what was taken from them and goes to the shorter h)."""
    found: dict[Gram, list[float]] = defaultdict(lambda: [0, 0.0])
    for gram, count in counts.items():
        entry = found[gram[:-1]]
        entry[0] += count
        entry[1] += discounted(count, discount)
    return {h: (int(total), taken) for h, (total, taken) in found.items()}

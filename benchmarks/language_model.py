"""Perplexity of the LSTM language model against Kneser–Ney n-grams on the same words.

Run where the recipe mnli-rnn has run: python -m benchmarks.language_model [BACKBONE [DATASET]]

Both know the words of the train split and no others, count every word and every line's end, and read on across lines
and articles. On the official WikiText-2 figures compare with published ones; on a part of it they don't.
"""

import json
import sys

from benchmarks.kneser_ney import KneserNey
from icebox.features.backbones.rnn_lm import read_vocabulary
from icebox.features.text import tokenization
from icebox.pipeline.catalog import datasets
from icebox.pipeline.config import loader
from icebox.pipeline.project import paths

ORDERS = (3, 5)


def main(backbone: str = "rnn_lm", dataset: str = "wikitext2") -> None:
    """Print a line for each model, then the ratio."""
    data = datasets.examples(loader.load(), dataset)
    vocabulary = read_vocabulary(paths.backbone(backbone))
    number = {word: i for i, word in enumerate(vocabulary)}
    text = {
        split: [
            number.get(word, number[tokenization.UNKNOWN])
            for word in tokenization.tokenize_lines("".join(map(str, data.contents(split))))
        ]
        for split in ("train", "val", "test")
    }
    print(f"{len(text['train']):,} tokens to learn from, {len(text['test']):,} to test on, {len(vocabulary):,} words")
    test = 0.0
    for order in ORDERS:
        model = KneserNey(text["train"], order=order, words=len(vocabulary))
        val, test = (model.perplexity(text[split], first=number[tokenization.END]) for split in ("val", "test"))
        print(f"modified Kneser-Ney, order {order}: perplexity val {val:.1f}, test {test:.1f}")
    scores = json.loads((paths.backbone(backbone) / "metrics.json").read_text())
    print(f"{backbone}: perplexity val {scores['perplexity_val']:.1f}, test {scores['perplexity_test']:.1f}")
    print(f"ratio on test, to order {ORDERS[-1]}: {scores['perplexity_test'] / test:.3f}")


if __name__ == "__main__":
    main(*sys.argv[1:])

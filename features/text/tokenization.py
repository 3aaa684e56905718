"""WikiText's tokenization: read its token files, and split any other text in the same way (the Moses tokenizer's).

Punctuation is a token of its own (`end .`), so is a hyphen or a number's mark inside a word
(`role @-@ playing`, `10 @,@ 000`, `2 @.@ 5`), and an apostrophe begins a word (`don 't`, `Sega 's`).
"""

import re
from collections import Counter
from collections.abc import Iterable

END = "<eos>"  # of a line; not in the files, added by their readers, and counted in published perplexities
UNKNOWN = "<unk>"
ABBREVIATION = re.compile(
    r"(?:[A-Za-z]\.){2,}|[A-Z]\.|(?:Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|No|vs|etc|lit|Gen|Col|Lt|Capt|Rev|Maj|Bros|ft)\."
)
TOKENIZATION_RULES = (
    (re.compile(r"[\u2018\u2019]"), "'"),
    (re.compile(r"[\u201c\u201d]|``|''"), '"'),
    (re.compile(r"(?<=\w)-(?=\w)"), " @-@ "),
    (re.compile(r"(?<=\d)([.,])(?=\d)"), r" @\1@ "),
    (re.compile(r"(\.{2,})"), r" ... "),
    (re.compile(r"(<(?!unk>)|(?<!<unk)>|[^\w\s.,'@<>-])"), r" \1 "),
    (re.compile(r"(?<!@)(,)(?!@)"), r" \1 "),
    (re.compile(r"(?<=\w)'(?=\w)"), " '"),
    (re.compile(r"(?<!\S)'(?=\w)(?!(?:s|t|re|ve|ll|d|m)\b)|'(?!\w)"), " ' "),
)
DETOKENIZATION_RULES = (
    (re.compile(r" @(.)@ "), r"\1"),
    (re.compile(r" (?=[.,;:!?%)\]])|(?<=[(\[$£]) | (?='\w)|(?<=\n) "), ""),
    (re.compile(r'" ([^"\n]*) "'), r'"\1"'),
)


def tokenize_lines(text: str) -> list[str]:
    """The words of a text that is tokenized already, with END behind each of its lines, blank ones too."""
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    return [word for line in lines for word in (*line.split(), END)]


def tokenize(text: str) -> list[str]:
    """Split any text into words. Line ends count as spaces."""
    for pattern, replacement in TOKENIZATION_RULES:
        text = pattern.sub(replacement, text)
    return [part for word in text.split() for part in split_full_stop(word)]


def split_full_stop(word: str) -> list[str]:
    """`end.` → `end`, `.`; abbreviations and initials stay whole."""
    if len(word) > 1 and word.endswith(".") and not word.startswith(".") and not ABBREVIATION.fullmatch(word):
        return [word[:-1], "."]
    return [word]


def vocabulary(words: Iterable[str]) -> list[str]:
    """All distinct words, UNKNOWN and END among them, the most frequent first, ties in alphabetical order."""
    counts = Counter(words)
    counts.update({word: 0 for word in (UNKNOWN, END) if word not in counts})
    return sorted(counts, key=lambda word: (-counts[word], word))


def detokenize(words: Iterable[str]) -> str:
    """Words → a text as people write it: undoes `tokenize` as far as that is possible. END becomes a line's end."""
    text = " ".join(words).replace(f" {END}", "\n").replace(END, "\n")
    for pattern, replacement in DETOKENIZATION_RULES:
        text = pattern.sub(replacement, text)
    return text.strip(" ")

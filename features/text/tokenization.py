"""Words as WikiText has them: its token files read, and any other text cut up in the same way (the Moses tokeniser's).

There, punctuation stands apart (`end .`), a hyphen or a number's mark inside a word is kept as one of its own
(`role @-@ playing`, `10 @,@ 000`, `2 @.@ 5`), and an apostrophe begins a word (`don 't`, `Sega 's`).
"""

import re
from collections import Counter
from collections.abc import Iterable

END = "<eos>"  # of a line; the files have none, readers put it there, and published perplexities count it
UNKNOWN = "<unk>"
ABBREVIATION = re.compile(
    r"(?:[A-Za-z]\.){2,}|[A-Z]\.|(?:Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|No|vs|etc|lit|Gen|Col|Lt|Capt|Rev|Maj|Bros|ft)\."
)
RULES = (
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
WRITTEN = (
    (re.compile(r" @(.)@ "), r"\1"),
    (re.compile(r" (?=[.,;:!?%)\]])|(?<=[(\[$£]) | (?='\w)|(?<=\n) "), ""),
    (re.compile(r'" ([^"\n]*) "'), r'"\1"'),
)


def tokenize_lines(text: str) -> list[str]:
    """The words of text that is cut up already, with END behind each of its lines, blank ones too."""
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    return [word for line in lines for word in (*line.split(), END)]


def tokenize(text: str) -> list[str]:
    """The words of any text. Line ends are no more than spaces."""
    for pattern, replacement in RULES:
        text = pattern.sub(replacement, text)
    return [part for word in text.split() for part in split_full_stop(word)]


def split_full_stop(word: str) -> list[str]:
    """`end.` → `end`, `.`; not for abbreviations and initials."""
    if len(word) > 1 and word.endswith(".") and not word.startswith(".") and not ABBREVIATION.fullmatch(word):
        return [word[:-1], "."]
    return [word]


def vocabulary(words: Iterable[str]) -> list[str]:
    """Every different word, the most frequent first, equals in alphabetical order; UNKNOWN and END among them."""
    counts = Counter(words)
    counts.update({word: 0 for word in (UNKNOWN, END) if word not in counts})
    return sorted(counts, key=lambda word: (-counts[word], word))


def detokenize(words: Iterable[str]) -> str:
    """Words as people write them: the inverse of `of_text`, as far as it can be known. END becomes a line's end."""
    text = " ".join(words).replace(f" {END}", "\n").replace(END, "\n")
    for pattern, replacement in WRITTEN:
        text = pattern.sub(replacement, text)
    return text.strip(" ")

"""One name for one value: labels, groups and ids whose spellings differ only by the type of a file's column."""

import re
import unicodedata
from collections.abc import Iterable

WHOLE_NUMBER = re.compile(r"(-?(?:0|[1-9][0-9]*))\.0+")  # 1.0, but neither 01.0 nor 1.10, which may be a version
LARGE_FLOAT = re.compile(r"-?[1-9](?:\.[0-9]+)?e\+[0-9]{2}")  # as Python writes a float from 1e16 on
TRUTH_VALUES = {"true": "true", "True": "true", "TRUE": "true", "false": "false", "False": "false", "FALSE": "false"}
DATE_AND_TIME = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]([0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?)(Z|\+00:00)?")
LINE_CHARACTERS, PATH_CHARACTERS = 80, 500  # of a name or a path within a line
INVISIBLE = "\u200b\u200e\u200f\u2060\ufeff"
LEADING_ZEROS = re.compile(r"-?0[0-9]{1,40}")  # the number that stands for it has lost them


def canonical_name(text: str) -> str:
    """The normal form: 1.0 → 1, True → true, 2024-05-01 00:00:00 → 2024-05-01, accents composed (NFC); 01 stays 01.

    Blanks at its ends go, and so do characters that are never seen: marks of direction, joints of width zero.
    """
    if text.isascii() and text.isalnum():  # most are, and this is called for every row
        return TRUTH_VALUES.get(text, text)
    name = unicodedata.normalize("NFC", text.strip().strip(INVISIBLE).strip())
    if name in TRUTH_VALUES:
        return TRUTH_VALUES[name]
    if whole := WHOLE_NUMBER.fullmatch(name):
        return "0" if whole[1] == "-0" else whole[1]
    if moment := DATE_AND_TIME.fullmatch(name):
        return canonical_moment(*moment.groups(default=""))
    return str(int(float(name))) if LARGE_FLOAT.fullmatch(name) else name


def canonical_moment(date: str, time: str, zone: str) -> str:
    """A moment as Python writes it, and a day where a column of dates has become one of midnights."""
    time = time.rstrip("0").rstrip(".") if "." in time else time
    if zone:
        return f"{date} {time}+00:00"
    return date if time == "00:00:00" else f"{date} {time}"


def merged_spellings(names: Iterable[str]) -> dict[str, str]:
    """{spelling: normal form} for the names that are spelled in several ways.

    A name with one spelling throughout keeps it, so that a column of floats alone stays 1.0, 2.0: a group's spelling
    decides where it is drawn, a label's is shown everywhere.
    """
    spellings: dict[str, set[str]] = {}
    for name in set(names):
        spellings.setdefault(canonical_name(name), set()).add(name)
    return {name: normal for normal, several in spellings.items() if len(several) > 1 for name in several}


def in_line(name: str, *, characters: int = LINE_CHARACTERS) -> str:
    """A name as part of a line: its beginning, with line ends and what else can't be printed as escapes."""
    text = name[:characters]
    return (text if text.isprintable() else repr(text)[1:-1]) + ("…" if len(name) > characters else "")

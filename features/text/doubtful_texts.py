"""Doubts about texts: empty ones, pairs that lack a side, characters of a wrong encoding."""

import re

from icebox.features.abc.account import Account
from icebox.features.abc.dataset import Content, Pair

CONTROL = re.compile(r"[\x80-\x9f\ufffd]")  # cp1252 read as latin-1; what was lost in an earlier conversion


def note_doubtful_text(content: Content, item_id: str, account: Account) -> None:
    """Note a text that is empty, a pair that lacks a side, and characters of a wrong encoding; all stay."""
    text = f"{content.first}\n{content.second}" if isinstance(content, Pair) else content
    if isinstance(text, str) and CONTROL.search(text):
        account.note("control_characters", "texts with characters that are none, as a wrong encoding gives", item_id)
    match content:
        case str() if not content.strip():
            account.note("empty_texts", "texts that are empty; they stay, since they have a label", item_id)
        case Pair() if not content.first.strip() or not content.second.strip():
            half = content.first.strip() or content.second.strip()
            kind, which = ("half_pairs", "one side is") if half else ("empty_texts", "both sides are")
            account.note(kind, f"pairs of which {which} empty; they stay, since they have a label", item_id)

"""Named steps that clean texts before any backbone sees them, as posts from social networks need it.

An item's content is the cleaned text: that is hashed, encoded and shown.
"""

import html as entities
import re
from collections.abc import Callable, Sequence

MENTION = re.compile(r"(?<![\w@.])@\w+")  # not within an e-mail address
LINK = re.compile(r"(?:https?://|www\.)\S+", re.I)
TAG = re.compile(r"</?[a-zA-Z][^<>]*>")
REPEATED = re.compile(r"([^\W\d_])\1{2,}")  # letters only: 1000 and ... are meant


def mentions(text: str) -> str:
    """Replace every @name by @user, as in the training data of tweet models."""
    return MENTION.sub("@user", text)


def links(text: str) -> str:
    """Replace every web address by http, as in the training data of tweet models."""
    return LINK.sub("http", text)


def html(text: str) -> str:
    """Decode entities (&amp;quot; too, which many dumps hold) and replace tags by spaces."""
    return TAG.sub(" ", entities.unescape(entities.unescape(text)))


def repeats(text: str) -> str:
    """Shorten a letter repeated more than twice to two: sooooo → soo, which still differs from so."""
    return REPEATED.sub(r"\1\1", text)


def full_stop(text: str) -> str:
    """Remove a closing full stop: where one file of a dataset has lost them, a network would learn that first."""
    stripped = text.rstrip()
    return stripped[:-1] if stripped.endswith(".") and not stripped.endswith("..") else text


def hashtags(text: str) -> str:
    """Remove the hash of #word."""
    return re.sub(r"(?<![\w&])#(?=\w)", "", text)


def lower(text: str) -> str:
    """Convert to lower case."""
    return text.lower()


def spaces(text: str) -> str:
    """Replace runs of blanks and line ends by one space; none at the ends."""
    return " ".join(text.split())


# In this order, whatever the order asked for: entities may hide links, and links hold what looks like mentions.
STEPS: dict[str, Callable[[str], str]] = {
    "html": html,
    "links": links,
    "mentions": mentions,
    "hashtags": hashtags,
    "repeats": repeats,
    "lower": lower,
    "full_stop": full_stop,
    "spaces": spaces,
}


def clean(text: str, steps: Sequence[str]) -> str:
    """Apply the named steps to a text; with any step at all, `spaces` is applied last.

    Raises IceboxError for a name that is no step.
    """
    for name in steps:
        if name not in STEPS:
            from icebox.features.errors import IceboxError, suggestion  # here: exports hold this file alone

            raise IceboxError(f"clean: no step '{name}'; {suggestion(name, list(STEPS))}")
    for name, step in STEPS.items():
        if name in steps or (steps and name == "spaces"):
            text = step(text)
    return text

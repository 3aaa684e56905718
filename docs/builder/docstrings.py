"""Docstrings as Markdown."""

import re


def code(text: str) -> str:
    """A text in which the capital names of classes and the paths of files stand as code."""
    return re.sub(r"(?<![`\w/])((?:features|pipeline)/[\w/]+\.py)(?!`)", r"`\1`", text)


def as_markdown(text: str) -> str:
    """A docstring of Google's form: its paragraphs, and its arguments as a list."""
    blocks = []
    for paragraph in text.split("\n\n"):
        if paragraph.startswith("Args:"):
            arguments = re.split(r"\n {4}(?=\w)", paragraph.removeprefix("Args:"))
            blocks.append(
                "\n".join(
                    f"- `{name}`: {' '.join(meaning.split())}"
                    for name, _, meaning in (each.partition(":") for each in arguments if each.strip())
                )
            )
        elif paragraph.startswith("- "):
            blocks.append(re.sub(r"\n +", " ", paragraph))
        elif not paragraph.startswith("Letters:"):
            blocks.append(" ".join(paragraph.split()))
    return code("\n\n".join(blocks))

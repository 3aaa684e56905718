"""A notebook as a page: its texts, its code, and what the code printed."""

from pathlib import Path

import nbformat


def as_markdown(path: Path) -> str:
    """The Markdown of a notebook with the outputs that it holds."""
    return "\n\n".join(map(cell_as_markdown, nbformat.read(path, as_version=4).cells)) + "\n"


def cell_as_markdown(cell: nbformat.NotebookNode) -> str:
    """A cell's text, or its code and under it what was printed."""
    if cell.cell_type == "markdown":
        return str(cell.source)
    printed = "".join(map(text_of, cell.get("outputs", []))).rstrip()
    return fenced("python", cell.source) + (f"\n\n{fenced('text', printed)}" if printed else "")


def text_of(output: nbformat.NotebookNode) -> str:
    """The text of one output: what was printed, or the value of the last line. Warnings and bars are left out."""
    if output.output_type == "stream":
        return str(output.text) if output.name == "stdout" else ""
    return f"{output.data['text/plain']}\n"


def fenced(language: str, text: str) -> str:
    """A code block."""
    return f"```{language}\n{text}\n```"

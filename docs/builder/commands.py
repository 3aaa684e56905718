"""The reference of the command line, from the commands' own help."""

import html

import typer
from typer.cli import get_docs_for_click

from icebox.pipeline.cli import app


def pages() -> dict[str, str]:
    """Page → its text."""
    command = typer.main.get_command(app.app)
    text = get_docs_for_click(obj=command, ctx=typer.Context(command), name="icebox", title="Commands")
    return {"commands": html.unescape(text)}  # a browser shows &#x27; in code as it stands

"""The reference of the command line, from the commands' own help."""

import html
from typing import Any

import typer
from typer.cli import get_docs_for_click

from icebox.pipeline.cli import app


def pages() -> dict[str, str]:
    """Page → its text."""
    command = typer.main.get_command(app.app)
    name_purposes(command)
    text = get_docs_for_click(obj=command, ctx=typer.Context(command), name="icebox", title="Commands")
    return {"commands": html.unescape(text)}  # a browser shows &#x27; in code as it stands


def name_purposes(group: Any) -> None:
    """Let the lists of commands hold their whole purpose, which typer cuts after 45 characters."""
    for command in group.commands.values():
        command.short_help = command.short_help or (command.help or "").partition("\n\n")[0]
        if hasattr(command, "commands"):
            name_purposes(command)

"""The commands that take a fitted head away: `export`, and `push` to a hub."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from icebox.pipeline.cli.predict import Trust

Head = Annotated[str, typer.Argument(metavar="STORE/HEAD", help="The fitted head.")]


def export(
    head: Head,
    to: Annotated[Path, typer.Option(metavar="DIR", help="The new folder; an earlier export there is replaced.")],
    kind: Annotated[
        Literal["onnx", "sklearn", "torch"],
        typer.Option(
            "--format",
            help="onnx: a graph for ONNX Runtime; sklearn: a Pipeline, saved by skops; torch: by torch.export.",
        ),
    ] = "onnx",
    trust: Trust = False,
) -> None:
    """Write a fitted head with its network as one folder: a model from raw item to answer, checked, with its card."""
    from icebox.pipeline.export import export as exporting

    exporting.export(head, to, kind=kind, trust=trust)


def push(
    head: Annotated[str, typer.Argument(metavar="STORE/HEAD", help="The fitted head, or the folder of its export.")],
    repository: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="The repository on the Hugging Face hub.")],
    public: Annotated[bool, typer.Option("--public", help="Make a new repository public, not private.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the files; send nothing.")] = False,
) -> None:
    """Push an export with its card to the Hugging Face hub (or the one that HF_ENDPOINT names)."""
    from icebox.pipeline.export import hub

    for name in hub.push(head, repository, public=public, dry_run=dry_run):
        print(name)

"""The commands that give a fitted head new items: `predict`, and `evaluate` for items with labels."""

from pathlib import Path
from typing import Annotated, Literal

import typer

Head = Annotated[str, typer.Argument(metavar="STORE/HEAD", help="The fitted head.")]
Trust = Annotated[bool, typer.Option("--trust", help="Open a bundle whose hash its card does not record.")]
OnError = Annotated[
    Literal["fail", "skip"],
    typer.Option(help="At an item that can't be read: stop and write nothing, or list it and leave it out."),
]
SafeCsv = Annotated[bool, typer.Option("--safe-csv", help="Make cells harmless that a spreadsheet takes for formulas.")]
Source = Annotated[
    str | None, typer.Option(metavar="NAME", help="Read by another source than the dataset's, such as csv_text.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A parameter of the source that is another here: text=body."),
]
Encoding = Annotated[str | None, typer.Option(metavar="NAME", help="Of texts, if not the dataset's.")]
Stdin = Annotated[
    Literal["csv", "tsv", "jsonl", "parquet"] | None,
    typer.Option(help="What stdin holds, if not lines: a table with the dataset's columns."),
]


def predict(
    head: Head,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="INPUT",
            help="Images, folders of them, tables like the dataset's, or text files of one text a line; - is stdin.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write .csv, .jsonl or .parquet there, no CSV to stdout.")
    ] = None,
    on_error: OnError = "fail",
    safe_csv: SafeCsv = False,
    lines: Annotated[bool, typer.Option("--lines", help="Each line of a file is a text, whatever its ending.")] = False,
    stdin: Stdin = None,
    encoding: Encoding = None,
    source: Source = None,
    settings: Settings = None,
    trust: Trust = False,
) -> None:
    """Label new images or texts with a fitted head: a row an item, with a probability for each class."""
    from icebox.pipeline.inference import predict

    predict.to_table(
        head,
        inputs or [],
        out=out,
        on_error=on_error,
        safe=safe_csv,
        trust=trust,
        source=source,
        settings=settings or [],
        lines=lines,
        stdin=stdin,
        encoding=encoding,
    )

"""The commands that give a fitted head new items: `predict`, and `evaluate` for items with labels."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from icebox.features.errors import IceboxError

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
Adapt = Annotated[
    Literal["saved", "items", "none"] | None,
    typer.Option(
        help="Of a head fitted with adapt: align each item by the statistics of its test set (saved, the default), or "
        "all by those of these items together, or none.",
    ),
]
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
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write .csv, .jsonl or .parquet there, no CSV to stdout; masks and boxes into this new folder.",
        ),
    ] = None,
    on_error: OnError = "skip",  # a bad file among thousands costs its own row, and is listed
    safe_csv: SafeCsv = False,
    lines: Annotated[bool, typer.Option("--lines", help="Each line of a file is a text, whatever its ending.")] = False,
    stdin: Stdin = None,
    encoding: Encoding = None,
    source: Source = None,
    settings: Settings = None,
    coverage: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="Also sets of classes that hold the true one in this share of items: 0.9."),
    ] = None,
    by_class: Annotated[
        bool, typer.Option("--by-class", help="With --coverage: in this share of the items of each class.")
    ] = False,
    adapt: Adapt = None,
    sketch: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Add the features to this sketch, for icebox drift; it holds no item."),
    ] = None,
    trust: Trust = False,
) -> None:
    """Label new images or texts with a fitted head: a row an item, with a probability for each class."""
    from icebox.pipeline.inference import predict

    if by_class and coverage is None:
        raise IceboxError("--by-class: says how sets are calibrated; ask for them: --coverage 0.9")
    opened = predict.open_for(
        head,
        inputs or [],
        out=out,
        safe=safe_csv,
        trust=trust,
        source=source,
        settings=settings or [],
        adapt=adapt,
        lines=lines,
        stdin=stdin,
        encoding=encoding,
        of_pictures=True,
    )
    if opened.bundle.task in ("segmentation", "detection"):
        if sketch is not None:
            raise IceboxError(f"--sketch: sketches are of an item's features, and {head} takes maps; leave it out")
        if coverage is not None:
            raise IceboxError(f"--coverage: sets are of classes, and {head} answers with masks or boxes; leave it out")
        predict.to_folder(opened, inputs or [], out=out, on_error=on_error)
        return
    sets = None if coverage is None else predict.set_predictor(opened, coverage=coverage, by_class=by_class)
    predict.to_table(opened, inputs or [], out=out, on_error=on_error, safe=safe_csv, sets=sets, sketch=sketch)


def evaluate(
    head: Head,
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH", help="Folders of class folders, tables with labels, masks, boxes; what the source reads."
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Everything, as JSON.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write the predictions there: .csv, .jsonl or .parquet; masks and boxes into a folder."
        ),
    ] = None,
    on_error: OnError = "fail",
    unknown_labels: Annotated[
        Literal["fail", "wrong", "skip"],
        typer.Option(help="Labels that the head does not know: an error, wrong answers, or left out."),
    ] = "fail",
    split: Annotated[str | None, typer.Option(metavar="NAME", help="Items of this split only.")] = None,
    safe_csv: SafeCsv = False,
    stdin: Stdin = None,
    encoding: Encoding = None,
    source: Source = None,
    settings: Settings = None,
    adapt: Adapt = None,
    trust: Trust = False,
) -> None:
    """Score a fitted head on labelled items that were no part of its dataset. Nothing is fitted."""
    from icebox.pipeline.comparison import evaluate, evaluate_pictures, evaluation_text
    from icebox.pipeline.inference import predict

    opened = predict.open_for(
        head,
        inputs,
        out=out,
        safe=safe_csv,
        trust=trust,
        source=source,
        settings=settings or [],
        adapt=adapt,
        stdin=stdin,
        encoding=encoding,
        of_pictures=True,
    )
    if opened.bundle.task in ("segmentation", "detection"):
        if unknown_labels != "fail":
            raise IceboxError(
                "--unknown-labels: is of items with one label; classes of masks and boxes must be the head's"
            )
        evaluation = evaluate_pictures.evaluate(opened, inputs, out=out, on_error=on_error, split=split)
    else:
        evaluation = evaluate.evaluate(
            opened, inputs, out=out, on_error=on_error, safe=safe_csv, unknown_labels=unknown_labels, split=split
        )
    print(evaluation.as_json() if as_json else evaluation_text.as_text(evaluation))

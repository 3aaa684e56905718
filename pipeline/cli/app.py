"""The command line: every stage of dvc.yaml, and commands for people."""

import importlib
import logging
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

import icebox
from icebox.features.errors import IceboxError, system_error
from icebox.features.names import in_line
from icebox.pipeline.cli import doctor, drift, export, failures, predict, project, serve, store, verbosity
from icebox.pipeline.project import hints

STAGES = {  # name → its purpose; a module of icebox.pipeline.stages
    "check": "Check params.yaml as a whole, and stamp the code behind each of its entries.",
    "manifest": "List a dataset's items in order, with content hash, label and split.",
    "fetch": "Fetch a backbone's weights from a hub, a package or a path.",
    "pretrain": "Train a backbone of our own from scratch.",
    "extract": "Pass a dataset through a backbone, once, into a feature store.",
    "join": "Lay two stores side by side, item by item.",
    "look": "Map a store's features, with nearest items and suspected label errors.",
    "fit": "Fit a head on a store's features.",
    "ensemble": "Let a store's best heads answer together.",
    "unfreeze": "Train a store's backbone on, end to end, from a fitted head.",
    "report": "Write the HTML report of all that params.yaml names.",
}
SECTIONS = {  # stages that run on an entry of params.yaml → its section, or those it may stand in
    "manifest": ("datasets",), "fetch": ("backbones",), "pretrain": ("pretrain",), "extract": ("stores",),
    "join": ("joined",), "look": ("stores", "joined"), "unfreeze": ("unfreeze",),
}  # fmt: skip
STAGES_OF_INPUTS = {  # further stages of dvc.yaml → their command
    "fit-input": "fit", "fit-joined": "fit", "look-joined": "look",
}  # fmt: skip
KEY_HELP = "The entry of params.yaml. In a stage of DVC: the one of the stage, where none is given."
DEVICE = "ICEBOX_DEVICE"  # features.nn.devices reads it; importing that would load torch
WITHOUT_KEY = ("check", "report")
INTERRUPTED = 130  # exit codes: the shell's for Ctrl-C
PARTS_MAX = 100_000
READER_GONE = 141  # and for a pipe that nobody reads
logger = logging.getLogger("icebox")


class Commands(TyperGroup):
    """The commands, with an exit code for each way in which one can end early."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Take -q and -v after the command too."""
        return super().parse_args(ctx, verbosity.options_first(args))

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        """Run the command. An error that the user can mend is one line and exit code 1."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()  # here, where a reader that has gone can still be told from an error
        except BrokenPipeError:  # `… | head` has read enough: what is left goes nowhere, without a complaint
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(READER_GONE) from None
        except (IceboxError, OSError, MemoryError, RuntimeError) as reason:
            error = reason if isinstance(reason, IceboxError) else system_error(reason)
            if error is None:
                raise
            if logger.isEnabledFor(logging.DEBUG):
                traceback.print_exc()
            print(f"error: {hints.with_hint(error)}", file=sys.stderr)
            raise typer.Exit(1) from None
        except failures.KINDS as error:
            if (line := failures.explain(error)) is None:
                raise
            if logger.isEnabledFor(logging.DEBUG):
                traceback.print_exc()
            print(f"error: {line} (-v shows where)", file=sys.stderr)
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            print("interrupted; what is finished is kept, the same command goes on from there", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None
        return result


app = typer.Typer(
    name="icebox",
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(project.init)
app.command()(project.run)
app.command()(project.schema)
app.command()(doctor.doctor)
app.command()(predict.predict)
app.command()(predict.evaluate)
app.command()(serve.serve)
app.command()(drift.drift)
app.command()(export.export)
app.command()(export.push)
app.add_typer(store.app, name="store")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command → the exit code: 1 for an error that the user can mend, 2 for wrong use."""
    # Before torch is loaded: OpenMP's threads wait for each other by spinning, which on a busy machine made a training
    # step 5–10 times slower. 1,000 turns instead of 300,000 cost a fifth on an idle one.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    try:
        with verbosity.lines_to_stderr():
            app(None if arguments is None else list(arguments), prog_name=program())
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def program() -> str:
    """The command as it was typed: `icebox`, `python -m icebox` or `python -m pipeline`."""
    path = Path(sys.argv[0])
    return f"python -m {path.parent.name}" if path.name == "__main__.py" else path.name or "icebox"


def print_version(wanted: bool) -> None:
    """Print the version and leave, where --version is given."""
    if wanted:
        print(f"icebox {icebox.__version__}")
        raise typer.Exit


@app.callback()
def common(
    show_version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Only results, warnings and errors.")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Details too, and where an error arose.")] = False,
) -> None:
    """Pass a dataset once through frozen backbones; then train, swap and compare heads from the stored features."""
    if quiet and verbose:
        raise typer.BadParameter("give one of the two", param_hint="--quiet, --verbose")
    if quiet or verbose:
        verbosity.choose("quiet" if quiet else "verbose")


def run_stage(name: str, key: str | None = None, *, engine: str | None = None, **options: Any) -> None:
    """Run one stage of dvc.yaml on the entry `key` of params.yaml.

    `engine` stands in for `run.engine`; `options` are further ones of this stage.
    """
    from icebox.pipeline.config import loader, names

    config = loader.load()
    if engine is not None:
        config = replace(config, run=config.run.model_copy(update={"engine": engine}))
    if key is not None and name in SECTIONS:
        known = [entry for section in SECTIONS[name] for entry in getattr(config, section)]
        names.check_known(f"entry of {SECTIONS[name][0]}", key, known, f"{name} {key}")
    named = DEVICE in os.environ
    os.environ.setdefault(DEVICE, config.run.device)
    try:
        importlib.import_module(f"icebox.pipeline.stages.{name}").run(config, key, **options)
    finally:
        if not named:
            del os.environ[DEVICE]


def key_of_stage(command: str) -> str:
    """The key of the stage that DVC runs: KEY of `extract@KEY`, from the variable that DVC sets.

    A name of a stranger's params.yaml is never a word of a command line, where a shell would read it.
    """
    stage, at, key = os.environ.get("DVC_STAGE", "").rpartition("dvc.yaml:")[2].partition("@")
    if not at or STAGES_OF_INPUTS.get(stage, stage) != command:
        raise IceboxError(f"{command}: expected an entry of params.yaml, found none; try: icebox {command} --help")
    return key


def stage_command(name: str) -> Callable[..., None]:
    """The command of a stage: without a key, or with one, which for `fit` names a store and a head."""
    if name in WITHOUT_KEY:
        return lambda: run_stage(name)
    metavar = "STORE/HEAD" if name == "fit" else "KEY"

    def run(key: Annotated[str | None, typer.Argument(metavar=metavar, help=KEY_HELP)] = None) -> None:
        run_stage(name, key if key is not None else key_of_stage(name))

    return run


def extract(
    key: Annotated[str | None, typer.Argument(metavar="KEY", help=KEY_HELP)] = None,
    part: Annotated[
        str | None,
        typer.Option(metavar="K/N", help="Of N parts, as for an array of batch jobs, only the K-th, and no index."),
    ] = None,
    engine: Annotated[
        Literal["local", "processes", "ray"] | None, typer.Option(help="Where it runs, instead of run.engine.")
    ] = None,
) -> None:
    """Pass a dataset through a backbone, once, into a feature store."""
    key = key if key is not None else key_of_stage("extract")
    run_stage("extract", key, engine=engine, part=None if part is None else numbers_of(part))


def numbers_of(part: str) -> tuple[int, int]:
    """K and N of `K/N`. Raises IceboxError for anything else."""
    number, slash, parts = part.partition("/")
    are_numbers = all(each.isdecimal() and len(each) <= len(str(PARTS_MAX)) for each in (number, parts))
    if not (slash and are_numbers and 1 <= int(number) <= int(parts) <= PARTS_MAX):
        raise IceboxError(
            f"--part: expected K/N with K from 1 to N, and N of at most {PARTS_MAX:,}, "
            f"found '{in_line(part, characters=40)}'; the third of 16 parts is 3/16"
        )
    return int(number), int(parts)


OWN_COMMANDS = {"extract": extract}  # of stages with options
for stage, purpose in STAGES.items():
    app.command(stage, help=purpose, rich_help_panel="Stages of dvc.yaml")(
        OWN_COMMANDS.get(stage) or stage_command(stage)
    )


@app.command(rich_help_panel="Stages of dvc.yaml")
def generate(
    key: Annotated[str | None, typer.Argument(metavar="KEY", help=KEY_HELP)] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Write new items there, no sheets.")] = None,
    n: Annotated[int, typer.Option(help="With --out: the number of items.")] = 10,
    label: Annotated[str | None, typer.Option(help="With --out: of this class only.")] = None,
    seed: Annotated[int, typer.Option(help="With --out: another number, other items.")] = 0,
) -> None:
    """Make new items of a generative backbone: sample sheets, or with --out single files."""
    key = key if key is not None else key_of_stage("generate")
    if out is None:
        run_stage("generate", key)
        return
    from icebox.pipeline.generation import generate

    generate.write_items(key, n=n, label=label, seed=seed, out=out)


@app.command()
def compare(
    stores: Annotated[
        list[str] | None, typer.Argument(metavar="STORE", help="Only these stores, or inputs of them, STORE/NAME.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything that is known, as JSON.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Everything that is known, as CSV.")] = False,
) -> None:
    """Print the leaderboard of all results that are here, with intervals and paired tests."""
    if as_json and as_csv:
        raise typer.BadParameter("give one of the two", param_hint="--json, --csv")
    from icebox.pipeline.comparison import formats, leaderboard
    from icebox.pipeline.config import loader

    config = loader.load()
    write = formats.as_json if as_json else formats.as_csv if as_csv else formats.as_table
    print(write(formats.records(config, stores or [])))
    for line in leaderboard.passed_over(config, stores or []):
        logger.info("passed over: %s", line)
    if not stores and (unfitted := leaderboard.unfitted(config)):
        logger.warning("not there yet: %s; run: icebox run", ", ".join(unfitted))


@app.command()
def describe(
    backbone: Annotated[
        str, typer.Argument(help="An entry of backbones: or pretrain:, once it is made; or `attention`, by numbers.")
    ],
    size: Annotated[int | None, typer.Option(metavar="N", help="For images of N×N pixels, not as extracted.")] = None,
    batch: Annotated[int, typer.Option(metavar="B", help="For B items at once.")] = 1,
    length: Annotated[int | None, typer.Option(metavar="L", help="For texts of L tokens.")] = None,
    hidden: Annotated[int | None, typer.Option(metavar="D", help="attention: features of a token.")] = None,
    heads: Annotated[int | None, typer.Option(metavar="H", help="attention: heads, a divisor of D.")] = None,
    kv_heads: Annotated[
        int | None, typer.Option(metavar="G", help="attention: heads of keys and values, where they are fewer.")
    ] = None,
    memory: Annotated[
        int | None, typer.Option(metavar="S", help="attention: S other tokens give keys and values.")
    ] = None,
    feed_forward: Annotated[
        int | None, typer.Option(metavar="F", help="attention: a whole encoder layer, with F features inside.")
    ] = None,
    bias: Annotated[bool, typer.Option(help="attention: linear maps with bias.")] = True,
    causal: Annotated[bool, typer.Option("--causal", help="attention: tokens see those before them only.")] = False,
) -> None:
    """List a backbone's layers, which `outputs:` may name, with shapes, parameters and poolings; of a transformer also
    what happens inside its layers of attention. `describe attention --hidden 20 --heads 5` does so for a layer that is
    given by numbers alone."""
    from icebox.pipeline.cli import describe

    numbers = {"hidden": hidden, "heads": heads, "kv_heads": kv_heads, "memory": memory, "feed_forward": feed_forward}
    layer = {**{name: value for name, value in numbers.items() if value is not None}}
    layer |= {"bias": False} if not bias else {}
    layer |= {"causal": True} if causal else {}
    print(describe.text(backbone, size=size, batch=batch, length=length, layer=layer))

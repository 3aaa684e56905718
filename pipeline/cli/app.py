"""`python -m pipeline COMMAND …`: every stage of dvc.yaml, and what people do with the results."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from icebox.features.errors import IceboxError
from icebox.pipeline.cli import store_parser

STAGES = (
    "check",
    "manifest",
    "fetch",
    "pretrain",
    "generate",
    "extract",
    "look",
    "fit",
    "ensemble",
    "unfreeze",
    "report",
)
WITHOUT_KEY = ("check", "report")
INTERRUPTED = 130  # the shell's code for Ctrl-C
READER_GONE = 141  # and for a pipe that nobody reads


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; an error that the user can mend is one line and exit code 1."""
    parsed = parser().parse_args(arguments)
    # Before torch is loaded: OpenMP's threads wait for each other by spinning, which on a busy machine made a training
    # step 5–10 times slower. 1,000 turns instead of 300,000 cost a fifth on an idle one.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    try:
        if parsed.command == "generate" and parsed.out:
            from icebox.pipeline.generation import generate

            generate.run(parsed.key, n=parsed.n, label=parsed.label, seed=parsed.seed, out=parsed.out)
        elif parsed.command in STAGES:
            from icebox.pipeline.config import loader

            importlib.import_module(f"icebox.pipeline.stages.{parsed.command}").run(
                loader.load(), getattr(parsed, "key", None)
            )
        elif parsed.command == "compare":
            from icebox.pipeline.comparison import formats
            from icebox.pipeline.config import loader

            write = {"json": formats.as_json, "csv": formats.as_csv, None: formats.terminal}[parsed.form]
            print(write(formats.records(loader.load(), parsed.stores)))
        elif parsed.command == "describe":
            from icebox.pipeline.cli import describe

            print(describe.described(parsed.backbone, size=parsed.size, batch=parsed.batch, length=parsed.length))
        elif parsed.command == "store":
            from icebox.pipeline.cli import store_commands

            store_commands.run(parsed)
        else:
            from icebox.pipeline.inference import predict

            predict.run(parsed.bundle, parsed.inputs, out=parsed.out, trust=parsed.trust)
        sys.stdout.flush()  # here, where a reader that has gone can still be told from an error
    except BrokenPipeError:  # `… | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left goes there, without a complaint
        return READER_GONE
    except IceboxError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; what is finished is kept, the same command goes on from there", file=sys.stderr)
        return INTERRUPTED
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m pipeline", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for stage in STAGES:
        command = commands.add_parser(stage, help=f"run the stage `{stage}` of dvc.yaml")
        if stage not in WITHOUT_KEY:
            command.add_argument("key", help="the entry of params.yaml; for fit STORE-HEAD")
        if stage == "generate":
            command.add_argument("--out", type=Path, metavar="DIR", help="write new items there instead of the sheets")
            command.add_argument("--n", type=int, default=10, help="with --out: how many (default: 10)")
            command.add_argument("--label", help="with --out: of this class only")
            command.add_argument("--seed", type=int, default=0, help="with --out: another number, other items")
    compare = commands.add_parser("compare", help="print the leaderboard, and how sure it is")
    compare.add_argument("stores", nargs="*", metavar="STORE", help="only these stores (default: all selected)")
    form = compare.add_mutually_exclusive_group()
    form.add_argument("--json", dest="form", action="store_const", const="json", help="all that is known, as JSON")
    form.add_argument("--csv", dest="form", action="store_const", const="csv", help="the same as CSV")
    describe = commands.add_parser("describe", help="list a backbone's layers, which `outputs:` may name")
    describe.add_argument("backbone", metavar="BACKBONE", help="an entry of backbones: or pretrain:, once it is made")
    describe.add_argument("--size", type=int, metavar="N", help="for pictures of N×N pixels (default: as extracted)")
    describe.add_argument("--batch", type=int, metavar="B", default=1, help="for B items at once (default: 1)")
    describe.add_argument("--length", type=int, metavar="L", help="for texts of L tokens (default: 16)")
    store_parser.add(commands)
    predict = commands.add_parser("predict", help="label new images or texts with a fitted head")
    predict.add_argument("bundle", metavar="STORE/HEAD", help="whose head")
    predict.add_argument(
        "inputs",
        nargs="*",
        metavar="INPUT",
        help="image files, folders of images, or text files of one text a line; - is stdin",
    )
    predict.add_argument("--out", type=Path, help="write CSV to this file instead of printing it")
    predict.add_argument("--trust", action="store_true", help="open a bundle that its card does not vouch for")
    return top


if __name__ == "__main__":
    sys.exit(main())

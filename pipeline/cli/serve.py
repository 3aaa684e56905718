"""The command `serve`: a fitted head behind HTTP."""

import importlib.util
import logging
from pathlib import Path
from typing import Annotated

import typer

from icebox.features.errors import IceboxError

NEEDED = {  # a module → the package that brings it
    "starlette": "starlette",
    "uvicorn": "uvicorn",
    "python_multipart": "python-multipart",
    "prometheus_client": "prometheus-client",
}
HOST, PORT, BATCH_SIZE, WAIT_MS = "127.0.0.1", 8000, 64, 5.0
logger = logging.getLogger("icebox")


def serve(
    head: Annotated[str, typer.Argument(metavar="STORE/HEAD", help="The fitted head, or the folder of an export.")],
    host: Annotated[str, typer.Option(help="The address to listen at; any but loopback needs a token.")] = HOST,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.")] = PORT,
    token_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A file with the token that requests need; or set ICEBOX_SERVE_TOKEN."),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A further name by which the server is asked, as behind a proxy."),
    ] = None,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Items that pass through the network together at most.")
    ] = BATCH_SIZE,
    wait_ms: Annotated[
        float, typer.Option(min=0, help="How long an item waits for others to join its batch.")
    ] = WAIT_MS,
    show_train: Annotated[
        bool, typer.Option("--train/--no-train", help="Show the nearest items of train to those who ask for them.")
    ] = True,
    sketch: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Keep a sketch of the features there, for icebox drift; it holds no item."),
    ] = None,
    dockerfile: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Serve nothing: write a Dockerfile and what it copies into this new folder."
        ),
    ] = None,
    trust: Annotated[bool, typer.Option("--trust", help="Open a bundle whose hash its card does not record.")] = False,
) -> None:
    """Answer new images or texts over HTTP, with a page for people at /."""
    if missing := [package for name, package in NEEDED.items() if importlib.util.find_spec(name) is None]:
        verb = "is" if len(missing) == 1 else "are"
        raise IceboxError(
            f"serve: needs {', '.join(missing)}, which {verb} not installed; run: pip install 'icebox[serve]'"
        )
    from icebox.pipeline.serving import security, server

    if dockerfile is not None:
        mine = {"--host": host != HOST, "--port": port != PORT, "--token-file": token_file, "--sketch": sketch}
        if useless := [name for name, value in mine.items() if value]:
            raise IceboxError(
                f"--dockerfile: an image listens at all addresses of its own, keeps no sketch, and gets its token when "
                f"it is run; leave out {', '.join(useless)}"
            )
        options = [] if show_train else ["--no-train"]
        options += [] if batch_size == BATCH_SIZE else ["--batch-size", str(batch_size)]
        options += [] if wait_ms == WAIT_MS else ["--wait-ms", f"{wait_ms:g}"]
        options += [word for name in allow_host or [] for word in ("--allow-host", name)]
        write_dockerfile(head, dockerfile, trust=trust, options=options)
        return
    token = security.read_token(token_file)
    security.refuse_open(host, token)
    with server.bind(host, port) as listening:  # before the network is loaded, which takes seconds
        from icebox.pipeline.serving import app
        from icebox.pipeline.serving.predictor import HeadPredictor
        from icebox.pipeline.serving.sketching import SketchFile

        predictor = HeadPredictor(head, trust=trust)
        kept = None if sketch is None else SketchFile(sketch, predictor)
        service = app.Service(
            predictor, batch_size=batch_size, wait_s=wait_ms / 1000, shows_train=show_train, sketch=kept
        )
        built = app.build(service, token=token, hosts=server.hosts_for(host, allow_host or []))
        logger.info("%s: %s (Ctrl-C ends)", service.predictor.name, server.url_of(listening))
        server.of_app(built, service.limits).run(sockets=[listening])


def write_dockerfile(head: str, folder: Path, *, trust: bool, options: list[str]) -> None:
    """Write the folder from which an image of a served head is built, and say what did not go along."""
    from icebox.pipeline.serving import dockerfile
    from icebox.pipeline.serving.predictor import HeadPredictor

    options = [*options, *(["--trust"] if trust else [])]
    for note in dockerfile.write(HeadPredictor(head, trust=trust), folder, options=options):
        logger.warning("%s: %s", folder, note)
    logger.info("%s: docker build -t icebox-head %s", head, folder)

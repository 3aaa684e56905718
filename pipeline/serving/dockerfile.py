"""A folder from which an image of a served head is built: a Dockerfile and all that it copies.

FOLDER/Dockerfile, requirements.txt   packages as they are installed here, pinned
FOLDER/icebox/                        this version of Icebox
FOLDER/project/                       the head, its networks, its predictions for val; or the export
"""

import importlib.metadata
import json
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import icebox
from icebox.features import files
from icebox.features.errors import IceboxError
from icebox.pipeline.project import paths
from icebox.pipeline.serving.predictor import HeadPredictor
from icebox.pipeline.serving.security import TOKEN_VARIABLE

SERVE = ("starlette", "uvicorn", "python-multipart", "prometheus-client")
NOT_NEEDED = ("dvc", "matplotlib", "tabulate")  # to serve
STORE_BYTES_MAX = 500 << 20  # of one that goes along, to show nearest items of train
NAME = re.compile(r"[A-Za-z0-9._-]+")
PLAIN = re.compile(r"[A-Za-z0-9._/-]+")  # of a head's name, in a line of a Dockerfile
PORT = 8000
TEXT = """\
# {head}, served by Icebox {version}. Build in this folder, and give the token when it is run:
#   docker build -t {tag} .
#   docker run -p 127.0.0.1:{port}:{port} -e {variable}=… {tag}
# Where packages come from is pip's own choice; an index with CPU builds of torch makes a small image:
#   docker build --build-arg PIP_INDEX_URL=… --build-arg PIP_EXTRA_INDEX_URL=… -t {tag} .
FROM python:{python}-slim
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
RUN useradd --create-home --uid 10001 icebox
COPY requirements.txt /tmp/requirements.txt
RUN pip install --no-cache-dir -r /tmp/requirements.txt && rm /tmp/requirements.txt
COPY icebox /opt/icebox/icebox
COPY --chown=icebox project /srv/project
ENV PYTHONPATH=/opt/icebox PYTHONUNBUFFERED=1
USER icebox
WORKDIR /srv/project
EXPOSE {port}
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["python", "-c", "import urllib.request; \
urllib.request.urlopen('http://127.0.0.1:{port}/readyz', timeout=4)"]
# bound to all addresses, so it starts with a token only: {variable}
ENTRYPOINT ["python", "-m", "icebox", "serve", "{served}", "--host", "0.0.0.0", "--port", "{port}"{options}]
"""


def write(predictor: HeadPredictor, folder: Path, *, options: Sequence[str] = ()) -> list[str]:
    """Write the folder, whole or not at all; notes on what did not go along. `options` are further ones of `serve`.

    Raises IceboxError for a folder that holds anything already.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise IceboxError(f"--dockerfile {folder}: expected a new or an empty folder; nothing is written over")
    name = predictor.name
    if predictor.head.export is not None:  # the name of its folder, which is called `model` in the image
        name = re.sub(r"[^A-Za-z0-9._/-]+", "-", name).strip("-") or "model"
    if not PLAIN.fullmatch(name):
        raise IceboxError(f"--dockerfile: the name {name!r} can't stand in a Dockerfile")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with files.temporary_in(folder.parent) as draft:
        draft.mkdir()
        copy_package(draft / "icebox")
        notes = list(copy_project(predictor, draft / "project", shows_train="--no-train" not in options))
        files.write_text(draft / "requirements.txt", "\n".join(requirements()) + "\n")
        files.write_text(
            draft / "Dockerfile",
            TEXT.format(
                head=name,
                served="model" if predictor.head.export is not None else name,
                version=icebox.__version__,
                tag="icebox-" + re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-"),
                port=PORT,
                options="".join(f", {json.dumps(option)}" for option in options),
                variable=TOKEN_VARIABLE,
                python=f"{sys.version_info.major}.{sys.version_info.minor}",
            ),
        )
        if folder.exists():
            folder.rmdir()
        draft.replace(folder)
    return notes


def copy_package(target: Path) -> None:
    """Icebox itself; a checkout's links become folders."""
    source = Path(icebox.__file__).parent
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))


def copy_project(predictor: HeadPredictor, target: Path, *, shows_train: bool = True) -> Iterator[str]:
    """All that the head is opened from; yields a line for each part that is missing or too large."""
    head, bundle = predictor.head, predictor.bundle
    if head.export is not None:
        shutil.copytree(head.export.path, target / "model")
        return
    needed = [paths.bundle(*head.place), paths.card(*head.place)]
    needed += [paths.backbone(part.backbone) for part in bundle.members or [bundle]]
    wanted = [paths.predictions(*head.place), paths.details(*head.place), Path("plugins")]
    stores = [paths.store(part.store) for part in bundle.members] + [paths.store(bundle.store)]
    if not shows_train:
        pass  # nothing of train goes into the image
    elif predictor.train_items() is None:
        yield "without the store, which is not here: no nearest items of train"
    elif (size_bytes := sum(map(size_of, stores))) > STORE_BYTES_MAX:
        yield f"without the store, of {size_bytes >> 20:,} MiB: no nearest items of train"
    else:
        wanted += stores
    for path in dict.fromkeys([*needed, *(each for each in wanted if each.exists())]):
        destination = target / path
        destination.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            shutil.copytree(path, destination, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, destination)


def size_of(folder: Path) -> int:
    """The bytes of a folder's files."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def requirements() -> Iterator[str]:
    """Icebox's requirements and those of serving, and of its extras what is loaded now, in the versions of here."""
    loaded = {
        name.lower().replace("_", "-")
        for module, names in importlib.metadata.packages_distributions().items()
        if module in sys.modules
        for name in names
    }
    names = {*SERVE, *({"onnxruntime"} & loaded)}
    try:
        declared = importlib.metadata.requires("icebox") or []
    except importlib.metadata.PackageNotFoundError:
        raise IceboxError(
            "--dockerfile: expected Icebox to be installed, found its files only; pip install it"
        ) from None
    for line in declared:
        found = NAME.match(line)
        name = found[0].lower().replace("_", "-") if found else ""
        if name and name not in NOT_NEEDED and ("extra ==" not in line or name in loaded):
            names.add(name)
    for name in sorted(names):
        yield f"{name}=={importlib.metadata.version(name).partition('+')[0]}"

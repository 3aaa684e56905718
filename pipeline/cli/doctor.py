"""`icebox doctor`: a table of what a bug report needs, and what is wrong with the installation or the folder."""

import os
import platform
import shutil
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer
from tabulate import tabulate

from icebox.features.buckets.local_cache import limit_bytes, local_cache
from icebox.features.buckets.path import BucketPath
from icebox.features.errors import IceboxError
from icebox.pipeline.project import paths

PACKAGES = ("icebox", "torch", "torchvision", "transformers", "scikit-learn", "lightgbm", "h5py", "dvc")
LINKS = ("reflink", "hardlink", "symlink")  # ways in which DVC can put a file into the folder without a copy
GIB = 2**30
SECONDS = 5.0  # for the hub to answer


def doctor(
    network: Annotated[bool, typer.Option("--network", help="Also ask the hub whether it is in reach.")] = False,
) -> None:
    """Print what a bug report needs: versions, device, memory, disk, DVC's links, weights; and what is wrong."""
    problems: list[str] = []
    rows = [
        *versions(),
        ("torch with torchvision", torch_pair(problems)),
        *hardware(problems),
        ("free disk here", free(Path())),
        *shared_cache(),
        ("folder", folder(problems)),
        *project(),
        ("hub", hub() if network else "not asked; --network asks it"),
    ]
    print(tabulate(rows, tablefmt="plain", disable_numparse=True))
    for problem in problems:
        print(f"problem: {problem}", file=sys.stderr)
    if problems:
        raise typer.Exit(1)


def versions() -> Iterator[tuple[str, str]]:
    """The versions of Python and of the packages on which results depend."""
    for name in PACKAGES:
        try:
            yield name, metadata.version(name)
        except metadata.PackageNotFoundError:
            yield name, "from a checkout that is not installed" if name == "icebox" else "not installed"
    yield "Python", f"{platform.python_version()}, {platform.platform()}"


def torch_pair(problems: list[str]) -> str:
    """Whether torchvision was built for the installed torch, or works beside it all the same."""
    try:
        from icebox.features import compat

        mismatched = compat.is_broken(compat.extension())
        compat.torchvision()
    except (ImportError, OSError, RuntimeError, AttributeError) as reason:
        first_line = next(iter(str(reason).splitlines()), type(reason).__name__)
        problems.append(
            f"torch and torchvision don't work together ({first_line}); install both anew, in versions of one release "
            "and from one index"
        )
        return "broken"
    return "of different builds; Icebox makes up for it" if mismatched else "match"


def hardware(problems: list[str]) -> Iterator[tuple[str, str]]:
    """Processor, device, the precision that `auto` takes there, the installed runtimes, cores and memory."""
    yield "processor", processor()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield "cores", f"{cores} of {os.cpu_count()}"
    yield "memory", memory()
    try:
        import torch

        from icebox.features.extraction import precision, runtime
        from icebox.features.nn import devices
    except (ImportError, OSError):  # named as a problem above
        return
    try:
        device = devices.default_device()
    except IceboxError as reason:
        problems.append(str(reason))
        return
    yield "device", f"{device}: {torch.cuda.get_device_name(device)}" if device.startswith("cuda") else device
    yield "precision: auto", precision.resolve_for_device("auto", device)
    yield "runtimes", ", ".join(filter(runtime.is_installed, runtime.RUNTIMES))


def processor() -> str:
    """The processor's model, as the system names it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def memory() -> str:
    """The machine's memory, and a container's limit below it."""
    if not hasattr(os, "sysconf"):
        return "unknown"
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    allowed = limit.read_text().strip() if limit.exists() else "max"
    limited = f", limited to {int(allowed) / GIB:,.1f}" if allowed.isdigit() and int(allowed) < total else ""
    return f"{total / GIB:,.1f} GiB{limited}"


def free(folder: Path) -> str:
    """The free space of the disk on which a folder lies, or will lie."""
    there = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
    return f"{shutil.disk_usage(there).free / GIB:,.1f} GiB"


def shared_cache() -> Iterator[tuple[str, str]]:
    """The cache of shards that projects share, where ICEBOX_CACHE names one, which may be on another disk."""
    if os.environ.get(paths.CACHE_VARIABLE):
        place = paths.shards()
        if isinstance(place, BucketPath):
            copies = (
                f"{local_cache().folder}, at most {limit_bytes() / GIB:,.1f} GiB, free: {free(local_cache().folder)}"
            )
            yield paths.CACHE_VARIABLE, f"{place}, copies in {copies}"
        else:
            yield paths.CACHE_VARIABLE, f"{place}, free: {free(place)}"


def folder(problems: list[str]) -> str:
    """The working folder, and whether it can be written to."""
    try:
        with tempfile.NamedTemporaryFile(dir=Path.cwd()):
            return str(Path.cwd())
    except OSError as reason:
        problems.append(f"{Path.cwd()}: can't be written to ({reason.strerror})")
        return f"{Path.cwd()}, not writable"


def project() -> Iterator[tuple[str, str]]:
    """The state of the folder's project, if it is one: params.yaml, DVC's links, weights of what it names."""
    if not paths.PARAMS.exists():
        yield "project", "none here: no params.yaml"
        return
    yield "project", "params.yaml, " + ("dvc.yaml" if Path("dvc.yaml").exists() else "but no dvc.yaml")
    yield "DVC cache", dvc_links() if Path(".dvc").is_dir() else "none yet; `icebox run` makes it"
    from icebox.pipeline.config import loader

    try:
        config = loader.load()
    except IceboxError as reason:
        yield "params.yaml", f"not valid: {reason}"
        return
    yield "params.yaml", "valid"
    if config.run.device != "auto":
        yield "run.device", config.run.device
    for name in dict.fromkeys(store.backbone for store in config.stores.values()):
        weights = paths.backbone(name)
        present = weights.is_dir() and any(weights.iterdir())
        yield f"weights of {name}", str(weights) if present else "not there yet"


def dvc_links() -> str:
    """`cache.type` of DVC's settings, and which links work between DVC's cache and the folder."""
    from dvc.exceptions import DvcException
    from dvc.fs import generic
    from dvc.repo import Repo

    try:
        with Repo() as repo:
            configured = repo.config["cache"].get("type")
            cache = repo.cache.local
            if not Path(cache.path).exists():
                return "none yet; `icebox run` makes it"
            # a file inside the folder: DVC tests the one above it, which may be on another disk
            links = generic.test_links(list(LINKS), cache.fs, cache.path, repo.fs, str(Path(repo.root_dir) / ".dvc"))
    except (DvcException, OSError) as reason:
        return f"can't be opened: {reason}"
    types = ", ".join([configured] if isinstance(configured, str) else configured or ["not set"])
    return f"cache.type {types}; works here: {', '.join([*links, 'copy'])}"


def hub() -> str:
    """Whether the Hugging Face hub answers."""
    from huggingface_hub import constants

    try:
        urllib.request.urlopen(urllib.request.Request(constants.ENDPOINT, method="HEAD"), timeout=SECONDS).close()
    except urllib.error.HTTPError:  # an answer all the same
        pass
    except (OSError, ValueError) as reason:
        return f"{constants.ENDPOINT}: not in reach ({getattr(reason, 'reason', reason)})"
    return f"{constants.ENDPOINT}: in reach"

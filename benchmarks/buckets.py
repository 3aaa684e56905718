"""Cost of a dataset and a shard cache in a bucket that fails at times, against a local disk; and that stores are equal.

    python -m benchmarks.buckets [ITEMS] [PERCENT_FAILING] [LATENCY_MS]

Pictures of 32×32 pixels (PNG, 3 kB) in two class folders, as objects of their own and as webdataset tars, through
`pixels`, which costs next to nothing, so that the figures are those of reading and writing. The server is moto's S3 on
loopback, in a process of its own; it fails PERCENT_FAILING of the requests (500, 503, answers that break off or are
short, puts that are accepted and lost), and each answer takes LATENCY_MS more. Each arm is the commands `manifest`,
`fetch` and `extract` in a new project.
"""

import io
import json
import logging
import os
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.clock import Clock

TAR_ITEMS = 1000
PARAMS = """
datasets:
  photos: {{source: {source}, path: {path}}}
backbones:
  pixels: {{size: 8}}
stores:
  photos-pixels: {{dataset: photos, backbone: pixels}}
heads:
  centroid: {{}}
"""
COUNTS = "/-counts"  # of requests and faults, and no bucket's name


def make_pictures(folder: Path, items: int) -> None:
    """The pictures, a folder a class, and the same in tars."""
    random = np.random.default_rng(0)
    (folder / "tars").mkdir(parents=True)
    for start in range(0, items, TAR_ITEMS):
        with tarfile.open(folder / f"tars/{start:08}.tar", "w") as tar:
            for number in range(start, min(start + TAR_ITEMS, items)):
                stream, label = io.BytesIO(), "ab"[number % 2]
                Image.fromarray(random.integers(0, 256, (32, 32, 3), np.uint8)).save(stream, "PNG")
                path = folder / "photos" / label / f"{number:08}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(stream.getvalue())
                for ending, content in (("png", stream.getvalue()), ("cls", label.encode())):
                    member = tarfile.TarInfo(f"{number:08}.{ending}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))


def serve(folder: Path, share: float, latency_s: float) -> None:
    """moto's S3 with a folder's files in the bucket `lab`, behind faults; prints its address, and ends with stdin."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from moto.s3.models import s3_backends
    from werkzeug.serving import make_server

    from tests.s3 import Faults, FaultyServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    faults = Faults(share=share, kinds=("error", "slow_down", "cut", "short", "lost"), random=Random(0))
    faulty = FaultyServer(DomainDispatcherApplication(create_backend_app), faults)

    def application(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] != COUNTS:
            time.sleep(latency_s)
            return faulty(environ, start)
        counts = {"requests": Counter(method for method, _, _ in faults.requests), "faults": faults.made}
        body = json.dumps(counts).encode()
        faults.requests.clear()
        faults.made.clear()
        start("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    backend = s3_backends["123456789012"]["aws"]
    backend.create_bucket("lab", "us-east-1")
    for path in folder.rglob("*"):
        if path.is_file():
            backend.put_object("lab", path.relative_to(folder).as_posix(), path.read_bytes())
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=MotoRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    sys.stdin.read()


def run(folder: Path, source: str, path: object, environment: dict[str, str]) -> dict[str, dict[str, float]]:
    """Seconds of each command in a new project."""
    folder.mkdir()
    (folder / "params.yaml").write_text(PARAMS.format(source=source, path=path))
    seconds = {}
    for command in ("manifest photos", "fetch pixels", "extract photos-pixels"):
        with Clock() as clock:
            arguments = [sys.executable, "-m", "icebox", *command.split()]
            done = subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr)
        seconds[command.split()[0]] = clock.seconds
    return seconds


def store_of(folder: Path) -> dict[str, bytes]:
    """The files of a project's store."""
    return {path.name: path.read_bytes() for path in (folder / "data/stores/photos-pixels").iterdir()}


def main(items: int = 20_000, percent_failing: float = 1.0, latency_ms: float = 0.0) -> None:
    """Print a line an arm: seconds, requests, and whether its store's bytes are the disk's."""
    folder = Path(tempfile.mkdtemp())
    make_pictures(folder / "raw", items)
    arguments = [
        sys.executable,
        "-m",
        "benchmarks.buckets",
        "serve",
        folder / "raw",
        percent_failing / 100,
        latency_ms / 1e3,
    ]
    server = subprocess.Popen(list(map(str, arguments)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdout
    url = server.stdout.readline().strip()
    plain = os.environ | {"DVC_NO_ANALYTICS": "true", "PYTHONPATH": str(Path.cwd())}
    aws = {"AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "benchmark", "AWS_SECRET_ACCESS_KEY": "benchmark"}
    in_bucket = plain | aws | {"AWS_DEFAULT_REGION": "us-east-1", "ICEBOX_CACHE": "s3://lab/cache"}
    for source, name in (("image_folder", "photos"), ("webdataset", "tars")):
        arms = {
            "disk": (folder / "raw" / name, plain),
            "bucket": (f"s3://lab/{name}", in_bucket),
            "bucket, another machine": (f"s3://lab/{name}", in_bucket),
        }
        on_disk: dict[str, bytes] = {}
        for arm, (path, environment) in arms.items():
            project = folder / f"{source}, {arm}"
            seconds = run(project, source, path, environment)
            with urllib.request.urlopen(url + COUNTS) as answer:
                counts = json.load(answer)
            on_disk = on_disk or store_of(project)
            equal = "" if arm == "disk" else f", bytes equal: {store_of(project) == on_disk}"
            shown = "; ".join(f"{k} {v['wall_s']:.1f} s, {v['cpu_s']:.1f} s of processor" for k, v in seconds.items())
            print(f"{source}, {arm}: {shown}; {counts}{equal}", flush=True)
        in_bucket["ICEBOX_CACHE"] += "-tars"  # whose pictures are the same
    server.communicate("")


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(Path(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4]))
    else:
        main(*[kind(value) for kind, value in zip((int, float, float), sys.argv[1:], strict=False)])

"""moto's S3 on loopback, with faults that a test chooses: none of these tests reaches any other network."""

import hashlib
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest

BUCKET = "lab"
SECRET = "verysecretvalue"
KINDS = ("error", "slow_down", "slow", "cut", "short", "lost")


@dataclass
class Faults:
    """Which share of requests goes wrong, how, and what was asked."""

    share: float = 0.0
    kinds: tuple[str, ...] = KINDS
    only: Callable[[str, str], bool] = lambda method, path: True
    random: Random = field(default_factory=lambda: Random(0))
    lock: threading.Lock = field(default_factory=threading.Lock)
    made: Counter[str] = field(default_factory=Counter)
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    slow_s: float = 0.02

    def draw(self, method: str, path: str, query: str) -> str:
        """The fault of a request, or ""."""
        with self.lock:
            self.requests.append((method, path, query))
            if not self.only(method, path) or self.random.random() >= self.share:
                return ""
            kinds = [
                k
                for k in self.kinds
                if {"lost": method == "PUT", "cut": method == "GET", "short": method == "GET"}.get(k, True)
            ]
            kind = self.random.choice(kinds) if kinds else ""
            self.made[kind] += bool(kind)
            return kind

    def asked(self, method: str, part: str = "") -> int:
        """The number of requests of this kind so far."""
        return sum(m == method and part in path + "?" + query for m, path, query in self.requests)


class FaultyServer:
    """moto behind the faults: 500, 503, late answers, bodies that break off or are short, puts that are lost."""

    def __init__(self, application: Any, faults: Faults) -> None:
        self.application, self.faults = application, faults

    def __call__(self, environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        """WSGI."""
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        kind = self.faults.draw(method, path, environ.get("QUERY_STRING", ""))
        if kind == "slow":
            time.sleep(self.faults.slow_s)
        if kind in ("error", "slow_down", "forbidden", "lost"):
            content = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            if kind == "lost":
                start("200 OK", [("ETag", f'"{hashlib.md5(content).hexdigest()}"'), ("Content-Length", "0")])
                return [b""]
            status, code = {"error": ("500 Internal Server Error", "InternalError"),
                            "slow_down": ("503 Slow Down", "SlowDown"),
                            "forbidden": ("403 Forbidden", "AccessDenied")}[kind]  # fmt: skip
            body = f"<Error><Code>{code}</Code><Message>injected</Message></Error>".encode()
            start(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
            return [b"" if method == "HEAD" else body]
        if kind not in ("cut", "short"):
            return self.application(environ, start)
        answer: dict[str, Any] = {}

        def keep(status: str, headers: list[tuple[str, str]], *_: Any) -> Any:
            answer.update(status=status, headers=headers)
            return lambda _: None

        body = b"".join(self.application(environ, keep))
        half = body[: len(body) // 2]
        headers = [(n, v) for n, v in answer["headers"] if n.lower() != "content-length"]
        start(answer["status"], [*headers, ("Content-Length", str(len(half if kind == "short" else body)))])
        return [half]


@dataclass
class S3:
    """The server's address, faults, and a filesystem that asks it directly."""

    faults: Faults
    fs: Any

    def put(self, folder: Path, to: str) -> None:
        """Every file below a folder as an object below `to`."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.fs.pipe_file(f"{BUCKET}/{to}/{path.relative_to(folder).as_posix()}", path.read_bytes())

    def objects(self, below: str = "") -> dict[str, bytes]:
        """{key: content} of all objects."""
        names = self.fs.find(f"{BUCKET}/{below}" if below else BUCKET)
        return {name.removeprefix(f"{BUCKET}/"): self.fs.cat_file(name) for name in names}


@pytest.fixture(scope="session")
def s3_server() -> Iterator[tuple[str, Faults]]:
    """One server for all tests of the session."""
    pytest.importorskip("s3fs", reason="needs s3fs: pip install icebox[s3]")
    pytest.importorskip("moto.server", reason="needs moto: pip install moto[server]")
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    faults = Faults()
    application = FaultyServer(DomainDispatcherApplication(create_backend_app), faults)
    served = make_server("127.0.0.1", 0, application, threaded=True, request_handler=MotoRequestHandler)
    thread = threading.Thread(target=served.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{served.server_port}", faults
    served.shutdown()
    thread.join()


@pytest.fixture
def s3(s3_server, monkeypatch, tmp_path) -> Iterator[S3]:
    """An empty bucket, a working folder of its own, and no faults yet."""
    import s3fs

    from icebox.features.buckets import bucket, listings, local_cache, retries

    url, faults = s3_server
    for name, value in {
        "AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "testingkey", "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "ICEBOX_CACHE", "ICEBOX_CACHE_BYTES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(retries, "PAUSE_S", 0.002)
    faults.share = 0.0
    faults.kinds, faults.only, faults.random, faults.slow_s = KINDS, lambda method, path: True, Random(0), 0.02
    bucket.not_md5.clear()
    local_cache.cache_in.cache_clear()
    listings.Listings.forget_all()
    fs = s3fs.S3FileSystem(use_listings_cache=False)
    fs.mkdir(BUCKET)
    folder = tmp_path / "here"
    (folder / ".icebox").mkdir(parents=True)
    monkeypatch.chdir(folder)
    faults.requests.clear()
    faults.made.clear()
    yield S3(faults, fs)
    faults.share = 0.0
    fs.rm(BUCKET, recursive=True)

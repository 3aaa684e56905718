"""The process that serves: its socket, its connections' time limits, and its end."""

import asyncio
import logging
import signal
import socket
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from icebox.features.errors import IceboxError
from icebox.pipeline.serving.limits import Limits
from icebox.pipeline.serving.security import LOOPBACK_NAMES, is_loopback

CONNECTIONS_MAX = 512
HEAD_BYTES = 32 << 10  # of a request's headers
KEEP_ALIVE_S = 30
END_S = 30  # for what is being answered when the server is told to end
logger = logging.getLogger("icebox")


class TimedProtocol(H11Protocol):
    """A connection that is closed where a request's headers take too long, or none comes."""

    head_s: float = Limits.head_s
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request's headers."""
        super().connection_made(transport)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Headers that have begun must come to their end, too; a body has limits of its own."""
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            self._stop_waiting()
        elif self._head_timer is None and (self.cycle is None or self.cycle.response_complete):
            self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait_for_head(self) -> None:
        self._head_timer = self.loop.call_later(self.head_s, self._close)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _close(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()


class Server(uvicorn.Server):
    """uvicorn's server, which ends at SIGTERM and SIGINT when what it has begun is answered; a second one ends it now.

    uvicorn itself raises the signal once more afterwards, so that a process that ended in order would look killed.
    """

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals within it."""
        if threading.current_thread() is not threading.main_thread():
            yield  # signals are the main thread's
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises IceboxError for a port that is taken, or an address that is not this machine's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(CONNECTIONS_MAX)
    except (OSError, OverflowError) as reason:
        listening.close()
        problem = getattr(reason, "strerror", None) or str(reason)
        raise IceboxError(f"{host}:{port}: can't be listened at ({problem}); choose another --port or --host") from None
    return listening


def hosts_for(host: str, allowed: Collection[str]) -> Collection[str] | None:
    """The names that a request's Host may have: on loopback those of this machine, and further ones that are allowed.

    Elsewhere any, since the token tells who asks, unless some are named.
    """
    names = {name.lower() for name in allowed}
    if is_loopback(host):
        return {*names, *LOOPBACK_NAMES, host}
    return {*names, *LOOPBACK_NAMES} if names else None  # an image's own health check asks by loopback


def url_of(listening: socket.socket) -> str:
    """The address of a socket as a browser takes it."""
    host, port, *_ = listening.getsockname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def of_app(app: ASGIApp, limits: Limits) -> Server:
    """The server of an application; `run(sockets=[…])` serves until SIGTERM or SIGINT."""
    protocol: Any = type("Protocol", (TimedProtocol,), {"head_s": limits.head_s})
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        loop="asyncio",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=CONNECTIONS_MAX,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=END_S,
        h11_max_incomplete_event_size=HEAD_BYTES,
    )
    for name in ("uvicorn.error", "python_multipart"):  # their warnings are of broken requests, which anyone can send
        logging.getLogger(name).setLevel(logging.ERROR)
    return Server(config)

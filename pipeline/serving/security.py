"""Who may ask: loopback without a token, any other address only with one; no request of another site's page."""

import asyncio
import hmac
import ipaddress
import os
from collections.abc import Collection
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from icebox.features.errors import IceboxError

TOKEN_VARIABLE = "ICEBOX_SERVE_TOKEN"
TOKEN_LENGTH_MIN = 16
OPEN_PATHS = ("/", "/healthz", "/readyz", "/page.css", "/page.js", "/icon.svg")  # that say nothing of the head
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
HEADERS = (
    (b"content-security-policy", b"default-src 'self'; img-src 'self' blob:; base-uri 'none'; form-action 'none'; "
     b"frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)  # fmt: skip


def read_token(file: Path | None) -> str | None:
    """The token in a file, else in ICEBOX_SERVE_TOKEN; None where there is neither.

    Raises IceboxError for a file that can't be read, and a token that is too short.
    """
    place, token = TOKEN_VARIABLE, os.environ.get(TOKEN_VARIABLE)
    if file is not None:
        place = f"--token-file {file}"
        try:
            token = file.read_text(encoding="utf-8")
        except (OSError, ValueError) as reason:
            raise IceboxError(f"{place}: can't be read: {getattr(reason, 'strerror', None) or 'no text'}") from None
    if token is None:
        return None
    token = token.strip()
    if len(token) < TOKEN_LENGTH_MIN or not token.isascii() or not token.isprintable() or " " in token:
        raise IceboxError(
            f"{place}: expected a token of {TOKEN_LENGTH_MIN} or more printable ASCII characters without blanks, found "
            f"{len(token)} characters; make one: python -c 'import secrets; print(secrets.token_urlsafe())'"
        )
    return token


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def refuse_open(host: str, token: str | None) -> None:
    """Raise IceboxError where others could ask and there is no token."""
    if token is None and not is_loopback(host):
        raise IceboxError(
            f"--host {host}: others reach this address, so requests need a token; name a file with one "
            f"(--token-file FILE), or set {TOKEN_VARIABLE}"
        )


class Gate:
    """Refuses requests before they are read: of other hosts' names, of other sites' pages, without the token.

    `hosts`: names that a request's Host may have, with any port; None: any. A name that an attacker's DNS points to
    this machine is none of them. Every response gets HEADERS, and has to be taken within `take_s`.
    """

    def __init__(self, app: ASGIApp, *, token: str | None, hosts: Collection[str] | None, take_s: float) -> None:
        self.app = app
        self.token = token
        self.hosts = hosts
        self.take_s = take_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a request, or answer it with its error."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *HEADERS]
            await asyncio.wait_for(send(message), self.take_s)

        status, problem = self.problem(Headers(scope=scope), scope["path"])
        app = error_response(status, problem) if problem else self.app
        await app(scope, receive, send_with_headers)

    def problem(self, headers: Headers, path: str) -> tuple[int, str]:
        """Status and line for a request that is refused; "" for one that is not."""
        host = headers.get("host", "")
        if self.hosts is not None and name_of(host) not in self.hosts:
            return 421, "this name is none of the server's; ask it by localhost, or start it with --allow-host NAME"
        origin = headers.get("origin")
        if origin is not None and urlsplit_netloc(origin) != host.lower():
            return 403, "pages of other sites may not ask this server"
        if self.token is not None and path not in OPEN_PATHS and not self.is_authorized(headers):
            return 401, "expected the server's token, as the header Authorization: Bearer TOKEN"
        return 0, ""

    def is_authorized(self, headers: Headers) -> bool:
        """Whether the request has the token; in time that does not depend on where they differ."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        expected = (self.token or "").encode()
        return hmac.compare_digest(token.strip().encode(errors="replace"), expected) and scheme.lower() == "bearer"


def name_of(host: str) -> str:
    """The name in a Host header, without its port and, of IPv6, its brackets."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].rstrip(".")


def urlsplit_netloc(origin: str) -> str:
    """Name and port of an Origin; "" of one that is none ("null")."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def error_response(status: int, message: str, *, close: bool = True, retry_after_s: int | None = None) -> JSONResponse:
    """An error as JSON. With `close` the connection ends: the rest of the body is not read."""
    headers = {"connection": "close"} if close else {}
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    if retry_after_s is not None:
        headers["retry-after"] = str(retry_after_s)
    return JSONResponse({"error": message}, status, headers)

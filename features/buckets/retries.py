"""Requests that may fail for a moment, tried again with growing pauses; errors that last are one line at once."""

import errno
import http.client
import logging
import os
import random
import re
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from icebox.features.buckets.urls import redacted
from icebox.features.errors import IceboxError

logger = logging.getLogger("icebox")
T = TypeVar("T")

ATTEMPTS = 7
PAUSE_S, GROWTH = 0.05, 3.0  # 18 s in all
BUSY = (408, 425, 429)  # of HTTP: timeouts and "slow down"
PASSING_ERRNO = {
    errno.EIO, errno.EBUSY, errno.EAGAIN, errno.ETIMEDOUT, errno.EPIPE, errno.ECONNRESET, errno.ECONNREFUSED,
    errno.ECONNABORTED, errno.EHOSTUNREACH, errno.ENETUNREACH,
}  # fmt: skip
LASTING = (FileNotFoundError, PermissionError, FileExistsError, IsADirectoryError, NotADirectoryError)
NETWORK = {
    "aiohttp", "aiobotocore", "botocore", "urllib3", "requests", "httpx", "httpx2", "fsspec", "gcsfs", "azure",
    "google",
}  # fmt: skip
BROKEN_OFF = (
    "ClientPayloadError",
    "ContentLengthError",
    "TransferEncodingError",
    "IncompleteRead",
    "IncompleteReadError",
)
PASSING_NAMES = re.compile(  # of those libraries' errors; others are of credentials, settings and arguments
    "Connect|Timeout|Closed|Stream|Parser|Incomplete|Payload|Checksum|HTTPClientError|Transport|Protocol|Chunked|"
    "ClientOS|ServiceRe"
)


class BucketError(IceboxError):
    """A bucket that can't be reached or refuses, now and from here."""


class Incomplete(OSError):
    """An answer that is shorter or other than what was announced."""


class Lost(OSError):
    """An object that was put, and accepted, and is not there."""


def retried(place: str, doing: str, call: Callable[[], T]) -> T:
    """The answer of `call`, which is tried again where its error may pass.

    FileNotFoundError and FileExistsError are the caller's; any other error becomes a BucketError that names `place`
    and what it was `doing` ("be read").
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return call()
        except (FileExistsError, IceboxError):
            raise
        except FileNotFoundError as reason:  # of libraries, often without a number
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), place) from reason
        except Exception as reason:
            if not may_pass(reason) or attempt == ATTEMPTS:
                raise explained(place, doing, reason, attempt) from reason
            logger.debug("%s: can't %s: %s; trying again", place, doing, cause(reason))
            time.sleep(PAUSE_S * GROWTH ** (attempt - 1) * random.uniform(0.5, 1.0))
    raise AssertionError


def may_pass(error: BaseException) -> bool:
    """Whether a request that failed so may succeed a moment later: never one that was refused or found nothing."""
    if isinstance(error, Incomplete | Lost) or any(type(each).__name__ in BROKEN_OFF for each in chain_of(error)):
        return True  # first, since aiohttp calls an answer that broke off a status of 400
    status = status_of(error)
    if status is not None:
        return status >= 500 or status in BUSY
    if isinstance(error, LASTING):
        return False
    if isinstance(error, TimeoutError | ConnectionError | EOFError | http.client.HTTPException):
        return True
    if type(error).__module__.partition(".")[0] in NETWORK:
        return bool(PASSING_NAMES.search(type(error).__name__))
    return isinstance(error, OSError) and (error.errno in PASSING_ERRNO)


def status_of(error: BaseException) -> int | None:
    """The HTTP status behind an error of any of the libraries, if there was an answer."""
    for each in chain_of(error):
        response: Any = getattr(each, "response", None)
        if isinstance(response, dict):
            response = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        for value in (response, getattr(each, "status_code", None), getattr(each, "status", None), code_of(each)):
            if isinstance(value, int) and 100 <= value < 600:
                return value
    return None


def code_of(error: BaseException) -> int | None:
    """The `code` of an error, as gcsfs gives it."""
    code = getattr(error, "code", None)
    return int(code) if isinstance(code, int | str) and str(code).isdecimal() else None


def chain_of(error: BaseException) -> Iterator[BaseException]:
    """An error and those that it was raised from."""
    each: BaseException | None = error
    for _ in range(10):
        if each is None:
            return
        yield each
        each = each.__cause__


def explained(place: str, doing: str, reason: BaseException, attempts: int = 1) -> BucketError:
    """The error for a request that failed for good: where, why and what to do, without secrets."""
    status = status_of(reason)
    if isinstance(reason, PermissionError) or status in (401, 403):
        advice = "refused: check the credentials that are set, and what they may do there"
    elif any("Credential" in type(each).__name__ or "Profile" in type(each).__name__ for each in chain_of(reason)):
        advice = "give the library credentials, by its environment variables or configuration file"
    elif may_pass(reason):
        advice = f"{attempts} attempts failed; look at the network or the service, then run this again"
    else:
        advice = "check the address and the library's settings"
    return BucketError(redacted(f"{place}: can't {doing}: {cause(reason)}; {advice}"))


def cause(reason: BaseException) -> str:
    """An error of a library in one line of bounded length."""
    text = " ".join(str(reason).split()) or type(reason).__name__
    return redacted(text if len(text) <= 300 else text[:300] + " …")

"""Limits of a server: what one request may hold, and what all requests may hold together."""

from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True)
class Limits:
    """Limits of requests, in bytes, items, pixels, characters and seconds."""

    body_bytes: int = 32 * MIB
    json_bytes: int = 8 * MIB  # of texts: JSON of this size is read in a tenth of a second
    items: int = 256
    pixels: int = 50_000_000  # of a picture, by its header
    text_length: int = 100_000
    name_length: int = 200  # of a file's name, which is told back
    all_bytes: int = 256 * MIB  # of the bodies of all requests that are being answered
    all_items: int = 1024  # that wait or are being answered
    body_s: float = 60.0  # until a body is here
    chunk_s: float = 10.0  # between two parts of a body, and for a response to be taken
    head_s: float = 10.0  # until a request's headers are here
    answer_s: float = 60.0  # until a request is answered


class RequestError(Exception):
    """A request that is not answered: an HTTP status, and one line that says why."""

    def __init__(self, status: int, message: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


class Budget:
    """Bytes that all requests share; what does not fit is refused, so that none waits for another to end."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0

    def take(self, size_bytes: int) -> None:
        """Take so many bytes. Raises RequestError (503) where they are not free."""
        if self.used_bytes + size_bytes > self.limit_bytes:
            raise busy("the bodies of all requests together are too large now")
        self.used_bytes += size_bytes

    def give(self, size_bytes: int) -> None:
        """Give bytes back."""
        self.used_bytes -= size_bytes


def busy(reason: str) -> RequestError:
    """The error of a server that has enough to do."""
    return RequestError(503, f"busy: {reason}; try again in a second", retry_after_s=1)

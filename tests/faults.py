"""Errors of the operating system, injected where files are opened."""

import builtins
import errno
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import h5py

ERRNOS = (errno.EMFILE, errno.EIO, errno.ESTALE, errno.ENOMEM, errno.EACCES)


@contextmanager
def failing(error: int | BaseException, *, names: str = "shard-", after: int = 0, times: int = 10**9) -> Iterator[None]:
    """Have the openings of files with `names` in their names fail, `times` times `after` so many went well.

    `error` is an errno or an exception. Files that are opened to be written are among them.
    """
    count = 0

    def wrapped(real: Any) -> Any:
        def opening(file: Any, *arguments: Any, **options: Any) -> Any:
            nonlocal count
            if isinstance(file, str | os.PathLike) and names in Path(os.fspath(file)).name:
                count += 1
                if after < count <= after + times:
                    raise error if isinstance(error, BaseException) else OSError(error, os.strerror(error), str(file))
            return real(file, *arguments, **options)

        return opening

    class File(h5py.File):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            wrapped(super().__init__)(*arguments, **options)

    with (
        mock.patch.object(io, "open", wrapped(io.open)),
        mock.patch.object(builtins, "open", wrapped(builtins.open)),
        mock.patch.object(os, "open", wrapped(os.open)),
        mock.patch.object(h5py, "File", File),
    ):
        yield

"""The stack that this thread's signal handlers run on, kept as it was.

OpenVINO's plugin for processors gives the thread a stack of its own for signals when it is loaded, and takes it away
with the plugin: two that end in the order in which they began leave the address of the first, which is gone. The next
signal that has a handler (Ctrl-C, the end of a DataLoader's worker) then ends the process with a segmentation fault.
"""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class SignalStack(ctypes.Structure):
    """`stack_t` of Linux (man 2 sigaltstack)."""

    _fields_ = (("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextmanager
def kept_signal_stack() -> Iterator[None]:
    """Put this thread's stack for signals back at the end.

    A plugin that ends later finds another than its own there, and leaves it.
    """
    if sys.platform != "linux":  # the plugin does so on no other system
        yield
        return
    sigaltstack = ctypes.CDLL(None).sigaltstack
    before = SignalStack()
    sigaltstack(None, ctypes.byref(before))
    try:
        yield
    finally:
        sigaltstack(ctypes.byref(before), None)

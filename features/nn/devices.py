"""The device on which networks run: the one that the environment variable ICEBOX_DEVICE names, else the fastest here.

It is no part of any fingerprint: where a network runs is a matter of the machine, not of the features.
"""

import os

import torch

from icebox.features.errors import IceboxError, located

VARIABLE = "ICEBOX_DEVICE"
AUTO = "auto"


def default_device() -> str:
    """The device that ICEBOX_DEVICE names; unset, empty or `auto`: a GPU where torch sees one, else the processor.

    Raises IceboxError where it names no device of this machine.
    """
    with located(VARIABLE):
        return resolve(os.environ.get(VARIABLE, "").strip() or AUTO)


def resolve(name: str) -> str:
    """`auto`, or a device as torch names it (`cpu`, `cuda`, `cuda:1`, `mps`) → torch's name of one that is here.

    `auto` is `cuda` where torch sees a GPU, else Apple's `mps`, else `cpu`. A setting of a whole run reaches every
    network, those in worker processes too, by `os.environ.setdefault(VARIABLE, name)` before the first is loaded; so
    that what the person at this machine has set counts more. Raises IceboxError for a device that is not here.
    """
    there_are = available()
    if name == AUTO:
        return there_are[0]
    if name not in there_are:
        raise IceboxError(
            f"there is no device '{name}' here; there are: {', '.join((AUTO, *there_are))}", hint="choose a device"
        )
    return name


def available() -> tuple[str, ...]:
    """The names of this machine's devices, the fastest first."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    cuda = ("cuda", *(f"cuda:{index}" for index in range(gpus))) if gpus else ()
    return (*cuda, *(("mps",) if torch.backends.mps.is_available() else ()), "cpu")

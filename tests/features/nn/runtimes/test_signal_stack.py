"""A process that has run OpenVINO takes signals as any other does. OpenVINO's own cores leave a thread whose stack for
signals is gone, which ends it at the next Ctrl-C or end of a child."""

import ctypes
import subprocess
import sys

import pytest

from icebox.features.extraction import runtime
from icebox.features.nn.runtimes.signal_stack import SignalStack, kept_signal_stack

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="OpenVINO changes the stack on Linux only")

SCRIPT = """
import os, signal, torch
from icebox.features.nn.runtimes import openvino
layer, row = torch.nn.Linear(3, 2), torch.zeros(1, 3)
def compiled():
    traced = torch.jit.trace(layer, row)
    return openvino.compiled(openvino.library().convert_model(traced, example_input=row), "float32")
first = compiled()
second = compiled()
del first
del second
signal.signal(signal.SIGUSR1, lambda *_: print("taken", flush=True))
os.kill(os.getpid(), signal.SIGUSR1)
"""


@pytest.mark.skipif(not runtime.is_importable("openvino"), reason="needs icebox[openvino]")
def test_signals_are_taken_after_networks_that_are_gone():
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", SCRIPT], capture_output=True, text=True)
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["taken"]), done.stderr


def test_the_stack_of_before_is_put_back():
    sigaltstack = ctypes.CDLL(None).sigaltstack

    def current() -> tuple[int | None, int]:
        stack = SignalStack()
        sigaltstack(None, ctypes.byref(stack))
        return stack.address, stack.size

    before, memory = current(), ctypes.create_string_buffer(1 << 16)
    with kept_signal_stack():
        sigaltstack(ctypes.byref(SignalStack(ctypes.addressof(memory), 0, len(memory))), None)
        assert current() == (ctypes.addressof(memory), len(memory))
    assert current() == before

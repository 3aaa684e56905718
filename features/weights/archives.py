"""Networks as whole archives: TorchScript (`.pt`, torch.jit.save) and torch.export (`.pt2`).

Both hold code, which runs when they are opened: only a file that the user has pinned by its sha256 ever is.
"""

import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from icebox.features import fingerprint
from icebox.features.errors import IceboxError
from icebox.features.json_files import one_line
from icebox.features.nn.layer_outputs import LAST, split_output
from icebox.features.weights import checkpoints

TORCHSCRIPT, EXPORT = ".pt", ".pt2"
STEM = "network"


class Script(nn.Module):
    """A TorchScript module as one layer: no hook reaches the layers inside it. Its tensors are the script's own."""

    script: Any

    def __init__(self, script: Any) -> None:
        super().__init__()
        vars(self)["script"] = script  # not as a submodule, which would be hooked
        self._take_tensors()

    def forward(self, *args: torch.Tensor) -> Any:
        """Run the script."""
        return self.script(*args)

    def train(self, mode: bool = True) -> "Script":
        """Set the script's mode too."""
        self.script.train(mode)
        return super().train(mode)

    def _apply(self, fn: Any, recurse: bool = True) -> "Script":
        self.script._apply(fn)
        self._take_tensors()
        return self

    def _take_tensors(self) -> None:
        for name, parameter in self.script.named_parameters():
            self._parameters[name.replace(".", "__")] = parameter  # a plain tensor, which register_parameter refuses
        for name, buffer in self.script.named_buffers():
            self.register_buffer(name.replace(".", "__"), buffer)


def keep(path: Path, folder: Path, sha256: str | None) -> str:
    """Copy an archive into a backbone's folder → its name there.

    Raises IceboxError for one that is not there, not pinned, not what is pinned, or can't be opened.
    """
    if path.suffix not in (TORCHSCRIPT, EXPORT) or not path.is_file():
        raise IceboxError(
            f"weights: without `build`, expected an archive that holds the network ({TORCHSCRIPT} of torch.jit.save, "
            f"{EXPORT} of torch.export.save), found {'' if path.exists() else 'no such file '}{path}"
        )
    if sha256 is None:
        raise IceboxError(
            f"weights: {path} holds code; if you trust where it comes from, pin it:\n"
            f"    sha256: {fingerprint.of_file(path)}"
        )
    checkpoints.check_sha256(path, sha256)
    name = f"{STEM}{path.suffix}"
    shutil.copyfile(path, folder / name)
    load(folder, name, "cpu")
    return name


def load(folder: Path, name: str, device: str) -> nn.Module:
    """The network in an archive. Raises IceboxError for one that can't be opened, or has no parameters."""
    path = folder / name
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch calls TorchScript deprecated in each of its functions
            if path.suffix == EXPORT:
                network: Any = torch.export.unflatten(torch.export.load(path))
            else:
                network = Script(torch.jit.load(str(path), map_location=device))
    except Exception as reason:  # a damaged archive raises anything
        raise IceboxError(f"weights: {path} can't be opened as a network: {one_line(reason)}") from reason
    if not list(network.parameters()):
        raise IceboxError(f"weights: {path}: expected a network with parameters, found none (was it frozen?)")
    module: nn.Module = network
    return module


def save(network: nn.Module, folder: Path, name: str) -> None:
    """Write an archive with the network's weights of now. Raises IceboxError for torch.export, which can't be."""
    if Path(name).suffix == EXPORT:
        raise IceboxError("an archive of torch.export can't be written anew; give the network by `build` to train it")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(network.script, str(folder / name))


def refuse_layers(network: nn.Module, outputs: Sequence[str]) -> None:
    """Raise IceboxError where a layer inside of TorchScript is asked for: no hook reaches it."""
    inner = [output for output in outputs if split_output(output)[0] != LAST]
    if inner and isinstance(network, Script):
        raise IceboxError(f"outputs: '{inner[0]}': of a TorchScript archive only `{LAST}` can be taken")

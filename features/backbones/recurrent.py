"""Three small networks from a sequence to one state, written by hand, to compare what sharing weights is worth.

- `shared`: a vanilla RNN, h_t = tanh(W x_t + V h_{t-1} + c), the same W, V and c at every step, over a whole sequence.
- `truncated`: W_t, V_t and c_t of each step's own, over the first `steps` steps; the rest is not seen.
- `padded`: likewise, for up to `steps` steps: shorter sequences are padded, and a mask holds the state still there.

They begin random: meant for `unfreeze` with `start: fresh`. Letters: b batch, t steps, d numbers a step, h hidden.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from icebox.features import fingerprint
from icebox.features.abc.backbone import WEIGHTS_FILE, read_settings, write_settings
from icebox.features.abc.dataset import Content, Modality
from icebox.features.errors import IceboxError, ItemError
from icebox.features.nn.backbone import TorchBackbone
from icebox.features.nn.layer_outputs import LAST, Inputs, LayerOutputs
from icebox.features.nn.state import plain_state
from icebox.features.nn.transfer import to_device_async

VERSION = 1
DEFAULT_OUTPUTS = (LAST,)

Kind = Literal["shared", "truncated", "padded"]


def fetch(
    folder: Path,
    *,
    kind: Literal["shared", "truncated", "padded"],
    steps: int = 0,
    width: int = 10,
    hidden: int = 32,
    seed: int = 0,
) -> None:
    """Draw the weights. `steps`: how many have their own; `width`: numbers a step; `hidden`: numbers of the state."""
    if kind != "shared" and steps < 1:
        raise IceboxError(f"recurrent: kind '{kind}' has weights for each step: say how many with `steps:`")
    settings: dict[str, Any] = {
        "kind": kind,
        "steps": 1 if kind == "shared" else steps,
        "width": width,
        "hidden": hidden,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = RecurrentNet(**settings)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(network.state_dict(), folder / WEIGHTS_FILE)
    write_settings(folder, settings)


def load(folder: Path, *, outputs: Sequence[str], device: str, precision: str = "float32") -> "RecurrentBackbone":
    """The network that `fetch` left in `folder`. One output: `last`, the state after the last step."""
    settings = read_settings(folder)
    network = RecurrentNet(**settings)
    network.load_state_dict(load_file(folder / WEIGHTS_FILE))
    spec = {
        "family": "recurrent",
        "version": VERSION,
        **settings,
        "weights": fingerprint.of_file(folder / WEIGHTS_FILE),
        "outputs": list(outputs),
        "precision": precision,
    }
    return RecurrentBackbone(network.to(device), settings, spec, device)


class RecurrentNet(nn.Module):
    """The recurrence: with one step's weights for all (`shared`), or with weights of each step's own."""

    def __init__(self, *, kind: Kind, steps: int, width: int, hidden: int) -> None:
        super().__init__()
        self.kind = kind
        self.from_input = nn.Parameter(torch.empty(steps, width, hidden))
        self.from_state = nn.Parameter(torch.empty(steps, hidden, hidden))
        self.bias = nn.Parameter(torch.empty(steps, hidden))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Uniform within one over the root of the hidden width, as torch's own RNN begins."""
        bound = 1 / math.sqrt(self.bias.shape[1])
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        """(b, t, d) and (b, t), 1 for real steps and 0 for padding, where the state stays as it is → (b, h)."""
        state = x.new_zeros(len(x), self.bias.shape[1])
        for t in range(x.shape[1]):
            i = 0 if self.kind == "shared" else t
            new = torch.tanh(x[:, t] @ self.from_input[i] + state @ self.from_state[i] + self.bias[i])
            state = torch.where(real[:, t, None] > 0, new, state)
        return state


class RecurrentBackbone(TorchBackbone):
    """Sequences in, the state after their last step out."""

    modality: ClassVar[Modality] = "sequence"

    def __init__(self, network: RecurrentNet, settings: dict[str, Any], spec: dict[str, Any], device: str) -> None:
        self.settings, self._spec, self.device = settings, spec, device
        self.outputs = tuple(spec["outputs"])
        self.layer_outputs = LayerOutputs(network, self.outputs, precision=spec["precision"])

    @property
    def spec(self) -> dict[str, Any]:
        """Kind, sizes, weights."""
        return self._spec

    def prepare(self, content: Content) -> Tensor:
        """(t, d) float32, cut to what the network has weights for."""
        kind, steps, width = (self.settings[name] for name in ("kind", "steps", "width"))
        if not isinstance(content, np.ndarray) or content.ndim != 2 or content.shape[1] != width or not len(content):
            found = getattr(content, "shape", type(content).__name__)
            raise ItemError(f"recurrent: expected a sequence (t, {width}), found {found}")
        if kind == "padded" and len(content) > steps:
            raise ItemError(f"recurrent: a sequence of {len(content)} steps, longer than `steps: {steps}`")
        if kind == "truncated" and len(content) < steps:
            raise ItemError(f"recurrent: a sequence of {len(content)} steps, shorter than `steps: {steps}`")
        return torch.from_numpy(np.array(content[: steps if kind == "truncated" else None], np.float32))

    def inputs(self, prepared: Sequence[Tensor]) -> Inputs:
        """Padded with zeros to the longest: (b, t, d), and the mask (b, t)."""
        x = to_device_async(pad_sequence(list(prepared), batch_first=True), self.device)
        mask = to_device_async(pad_sequence([torch.ones(len(row)) for row in prepared], batch_first=True), self.device)
        return Inputs((x,), {"real": mask})

    def save(self, folder: Path) -> None:
        """Write weights and settings."""
        write_settings(folder, self.settings)
        save_file(plain_state(self.layer_outputs.network), folder / WEIGHTS_FILE)

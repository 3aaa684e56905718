"""Three small recurrent networks, to measure the effect of sharing weights between steps.

- `shared`: a vanilla RNN, h_t = tanh(W x_t + V h_{t-1} + c), the same W, V and c at every step, over a whole sequence.
- `truncated`: W_t, V_t and c_t of each step's own, over the first `steps` steps; later steps are ignored.
- `padded`: likewise, for up to `steps` steps: shorter sequences are padded, and a mask keeps the state there.

They begin random: meant for `unfreeze` with `start: fresh`. Letters: b batch, t steps, d numbers per step, h hidden.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

import numpy as np
import torch
from annotated_types import Ge
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from icebox.features import fingerprint
from icebox.features.abc.backbone import WEIGHTS_FILE, read_settings, write_settings
from icebox.features.abc.dataset import Content, Modality
from icebox.features.errors import IceboxError, ItemError
from icebox.features.json_files import POSITIVE
from icebox.features.nn.backbone import TorchBackbone
from icebox.features.nn.layer_outputs import LAST, Inputs
from icebox.features.nn.transfer import to_device_async

VERSION = 1
DEFAULT_OUTPUTS = (LAST,)

Kind = Literal["shared", "truncated", "padded"]


def fetch(
    folder: Path,
    *,
    kind: Literal["shared", "truncated", "padded"],
    steps: Annotated[int, Ge(0)] = 0,
    width: Annotated[int, Ge(1)] = 10,
    hidden: Annotated[int, Ge(1)] = 32,
    seed: int = 0,
) -> None:
    """Draw the weights from `seed`. `kind`: weights that all steps share, or weights of each of the first `steps`
    steps' own, later steps ignored (`truncated`) or padding masked (`padded`). `width`: numbers per step; `hidden`:
    of the state."""
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
    settings = read_settings(folder, kind=frozenset(get_args(Kind)), steps=POSITIVE, width=POSITIVE, hidden=POSITIVE)
    network = RecurrentNet(**settings)
    network.load_state_dict(load_file(folder / WEIGHTS_FILE))
    weights = fingerprint.of_file(folder / WEIGHTS_FILE)
    spec = {"family": "recurrent", "version": VERSION, **settings, "weights": weights}
    return RecurrentBackbone(
        network.to(device), spec=spec, settings=settings, outputs=outputs, precision=precision, device=device
    )


class RecurrentNet(nn.Module):
    """A vanilla RNN with one set of weights for all steps (`shared`), or one for each step."""

    def __init__(self, *, kind: Kind, steps: int, width: int, hidden: int) -> None:
        super().__init__()
        self.kind = kind
        self.from_input = nn.Parameter(torch.empty(steps, width, hidden))
        self.from_state = nn.Parameter(torch.empty(steps, hidden, hidden))
        self.bias = nn.Parameter(torch.empty(steps, hidden))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights uniformly within ±1/√hidden, the initialization of torch's own RNN."""
        bound = 1 / math.sqrt(self.bias.shape[1])
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        """Steps (b, t, d) and a mask (b, t), 1 for real steps and 0 for padding, which keeps the state → (b, h)."""
        state = x.new_zeros(len(x), self.bias.shape[1])
        for t in range(x.shape[1]):
            i = 0 if self.kind == "shared" else t
            new = torch.tanh(x[:, t] @ self.from_input[i] + state @ self.from_state[i] + self.bias[i])
            state = torch.where(real[:, t, None] > 0, new, state)
        return state


class RecurrentBackbone(TorchBackbone):
    """The state of the network after the last step of a sequence."""

    modality: ClassVar[Modality] = "sequence"
    reentrant: ClassVar[bool] = True

    def prepare(self, content: Content) -> Tensor:
        """A sequence (t, d) float32, with kind `truncated` its first `steps` steps."""
        kind, steps, width = (self.settings[name] for name in ("kind", "steps", "width"))
        if not isinstance(content, np.ndarray) or content.ndim != 2 or content.shape[1] != width or not len(content):
            shape = getattr(content, "shape", type(content).__name__)
            raise ItemError(f"recurrent: expected a sequence (t, {width}), found {shape}")
        if kind == "padded" and len(content) > steps:
            raise ItemError(f"recurrent: a sequence of {len(content)} steps, longer than `steps: {steps}`")
        if kind == "truncated" and len(content) < steps:
            raise ItemError(f"recurrent: a sequence of {len(content)} steps, shorter than `steps: {steps}`")
        return torch.from_numpy(np.array(content[: steps if kind == "truncated" else None], np.float32))

    def inputs(self, prepared: Sequence[Tensor]) -> Inputs:
        """b sequences → (b, t, d), padded with zeros to the longest, and the mask (b, t)."""
        x = to_device_async(pad_sequence(list(prepared), batch_first=True), self.device)
        mask = to_device_async(pad_sequence([torch.ones(len(row)) for row in prepared], batch_first=True), self.device)
        return Inputs((x,), {"real": mask})

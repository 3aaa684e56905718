"""Any classification network of torchvision, by its name there, without its classifier.

Letters: b batch, h height, w width.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn.utils import convert_conv2d_weight_memory_format

from features import checkpoint, fingerprint, headless
from features.backbones.base import WEIGHTS_FILE, Backbone, read_settings, write_settings
from features.capture import LAST, Capture
from features.datasets.base import Content, Modality
from features.decode import to_image
from features.errors import IceboxError
from features.plugins import suggestion
from features.resize import resized_crop

VERSION = 2  # 2: resize and crop in one, within a level
DEFAULT_OUTPUTS = (LAST,)
RANDOM = "random"
EXACT, DRAFT = DECODES = ("exact", "draft")  # draft: a large JPEG is decoded at 1/2, 1/4 or 1/8 of its size


def fetch(folder: Path, *, model: str, weights: str, sha256: str | None = None, seed: int = 0) -> None:
    """Store `model`'s weights, less the classifier's, and the preprocessing that they need.

    `weights` is one of the model's published ones (`IMAGENET1K_V1`, `DEFAULT`: downloaded), the path of a `.pth`,
    `.pt`, `.th` or `.safetensors` file, or `random` (drawn from `seed`). `sha256` pins the file they come from.
    Raises IceboxError for an unknown name, for a file that differs or does not fit, and without a network.
    """
    published = headless.published_weights(model)
    if weights == RANDOM:
        if sha256 is not None:
            raise IceboxError("`weights: random` has no file for `sha256` to pin; leave that out")
        preprocess = headless.preprocess_of(published["DEFAULT"])
        network = headless.random_network(model, preprocess, seed)
        headless.behead(network)
        tensors = dict(network.state_dict())
    else:
        path, member = located(weights, published)
        digest = checkpoint.check_sha256(path, sha256)
        if sha256 is None:
            print(f"{path.name}: not pinned; to pin it, write in params.yaml\n    sha256: {digest}", file=sys.stderr)
        preprocess = headless.preprocess_of(member)
        network = headless.hollow_network(model, preprocess)
        found = headless.without_classifier(checkpoint.read_tensors(path), headless.behead(network))
        tensors = checkpoint.fitted(found, network.state_dict(), f"weights: {path} does not fit torchvision's {model}")
    folder.mkdir(parents=True, exist_ok=True)
    safetensors.torch.save_file(tensors, folder / WEIGHTS_FILE)
    write_settings(folder, {"model": model, "preprocess": preprocess})


def located(weights: str, published: Mapping[str, Any]) -> tuple[Path, Any]:
    """The file that `weights` stands for, and the published weights whose preprocessing it needs.

    A file that bears a published file's name needs that one's; any other is taken to need the default's.
    """
    path = Path(weights)
    if path.suffix in checkpoint.SUFFIXES:
        if not path.is_file():
            raise IceboxError(f"weights: there is no file {path} (looked in {Path.cwd()})")
        namesakes = [member for member in published.values() if Path(member.url).name == path.name]
        return path, [*namesakes, published["DEFAULT"]][0]
    if weights not in published:
        raise IceboxError(
            f"weights: expected '{RANDOM}', a file ({', '.join(sorted(checkpoint.SUFFIXES))}) or published "
            f"weights, found '{weights}'; {suggestion(weights, list(published))}"
        )
    return checkpoint.downloaded(published[weights].url), published[weights]


def load(
    folder: Path, *, outputs: Sequence[str], device: str, precision: str = "float32", decode: str = EXACT
) -> "Torchvision":
    """The network that `fetch` left in `folder`, frozen, on `device`; `decode` is one of DECODES."""
    if decode not in DECODES:
        raise IceboxError(f"decode: expected one of {', '.join(DECODES)}, found '{decode}'")
    settings = read_settings(folder)
    network = headless.hollow_network(settings["model"], settings["preprocess"])
    headless.behead(network)
    state = network.state_dict()  # filled, not replaced: it carries the version that MNASNet insists on
    state.update(safetensors.torch.load_file(folder / WEIGHTS_FILE))
    network.load_state_dict(state, assign=True)
    spec = {
        "family": "torchvision",
        "version": VERSION,
        "model": settings["model"],
        "weights": fingerprint.of_file(folder / WEIGHTS_FILE),
        "preprocess": settings["preprocess"] | {"decode": decode},
        "outputs": list(outputs),
        "precision": precision,
    }
    network = convert_conv2d_weight_memory_format(network.to(device), torch.channels_last)
    return Torchvision(network, spec, device=device)


class Torchvision(Backbone):
    """Pictures are decoded, resized and cropped on the processor; scaled, normalised and encoded on `device`."""

    modality: ClassVar[Modality] = "image"

    def __init__(self, network: nn.Module, spec: dict[str, Any], *, device: str) -> None:
        self.outputs = tuple(spec["outputs"])
        self.capture = Capture(network, self.outputs, precision=spec["precision"])
        self.device = device
        self._spec = spec
        self._transforms = headless.library().transforms

    @property
    def spec(self) -> dict[str, Any]:
        """Model, weights, preprocessing, outputs."""
        return self._spec

    def compile(self, batch_size: int | None) -> bool:
        """Compile the network, as Capture can."""
        return self.capture.compile(batch_size)

    def prepare(self, content: Content) -> Tensor:
        """One picture → uint8 (3, h, w), as the weights' own transforms up to normalisation give it.

        At most 1 level apart in 0.1% of the values, unless `decode` is `draft`.
        """
        steps = self._spec["preprocess"]
        (shorter,), (height, width) = steps["resize"], (steps["crop"] * 2)[:2]
        picture = to_image(content, draft=shorter if steps["decode"] == DRAFT else None)
        picture = resized_crop(picture, shorter=shorter, crop=(height, width), interpolation=steps["interpolation"])
        pixels = np.array(picture.convert("RGB"))  # grey is repeated
        return torch.from_numpy(pixels).permute(2, 0, 1)

    def encode(self, prepared: Sequence[Tensor]) -> dict[str, np.ndarray]:
        """b pictures, uint8 (3, h, w) each → {output: float32 (b, …)}."""
        steps, functional = self._spec["preprocess"], self._transforms.functional
        pixels = torch.stack(list(prepared)).to(self.device)  # (b, 3, h, w), still uint8: a quarter of the copying
        pixels = functional.convert_image_dtype(pixels, torch.float32)
        pixels = functional.normalize(pixels, steps["mean"], steps["std"], inplace=True)
        # Colours last in memory: 2.5× on a processor for SqueezeNet, 2× GoogLeNet, 1.3× ResNet-18, never slower.
        return self.capture(pixels.contiguous(memory_format=torch.channels_last))

"""Any classification network of torchvision, named as there, without its classifier.

Letters: b batch, h height, w width.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import safetensors.torch
import torch
from torch.nn.utils import convert_conv2d_weight_memory_format

from icebox.features import fingerprint
from icebox.features.abc.backbone import WEIGHTS_FILE, read_settings, write_settings
from icebox.features.errors import IceboxError, suggestion
from icebox.features.images.input_size import Size, check_input, scale_preprocess
from icebox.features.json_files import Shape
from icebox.features.nn.image_backbone import FAST, ImageBackbone, check_decode
from icebox.features.nn.layer_outputs import LAST
from icebox.features.nn.output_names import holds_map
from icebox.features.weights import checkpoints, torchvision_models

VERSION = 4  # 3: batch norm folded into the convolutions; 4: resized by vector instructions, `exact` by Pillow
DEFAULT_OUTPUTS = (LAST,)
RANDOM = "random"
PREPROCESS: Shape = {"resize": [int], "crop": [int], "interpolation": str, "mean": [float], "std": [float]}
logger = logging.getLogger("icebox")


def fetch(
    folder: Path,
    *,
    model: str,
    weights: str,
    sha256: str | None = None,
    preprocess: str | None = None,
    seed: int = 0,
) -> None:
    """Store the weights of `model` without its classifier, and the preprocessing that they need.

    `weights` is one of the model's published ones (`IMAGENET1K_V1`, `DEFAULT`: downloaded), the path of a file
    (`.pth`, `.ckpt`, `.safetensors`, …), or `random` (drawn from `seed`). `sha256` pins the file they come from.
    `preprocess` names published weights whose preprocessing these need; None: of a published file its own, of any other
    that of `DEFAULT`. Raises IceboxError for an unknown name, for a file that differs or does not fit, and without a
    network.
    """
    published = torchvision_models.published_weights(model)
    if preprocess is not None and preprocess not in published:
        raise IceboxError(
            f"preprocess: expected the name of published weights of {model}, found '{preprocess}'; "
            + suggestion(preprocess, list(published))
        )
    if weights == RANDOM:
        if sha256 is not None:
            raise IceboxError("`weights: random` has no file for `sha256` to pin; leave that out")
        steps = torchvision_models.preprocess_of(published[preprocess or "DEFAULT"])
        network = torchvision_models.build_random(model, steps, seed)
        torchvision_models.remove_classifier(network)
        tensors = dict(network.state_dict())
    else:
        path = locate_weights(weights, published)
        digest = checkpoints.check_sha256(path, sha256)
        if preprocess is not None:
            member, reason = published[preprocess], "as set"
        elif weights in published:
            member, reason = published[weights], "its own"
        else:
            member, reason = torchvision_models.member_of_file(path, digest, model, published)
        steps = torchvision_models.preprocess_of(member)
        log_preprocess(path.name, member, steps, reason or unknown_file(published))
        network = torchvision_models.build_empty(model, steps)
        classifier = torchvision_models.remove_classifier(network)
        expected = network.state_dict()
        where = f"weights: {path} does not fit torchvision's {model}"
        stored = checkpoints.read_tensors(path)
        tensors = torchvision_models.fitted(stored, classifier, expected, path.name, where)
    folder.mkdir(parents=True, exist_ok=True)
    safetensors.torch.save_file(tensors, folder / WEIGHTS_FILE)
    write_settings(folder, {"model": model, "preprocess": steps})


def log_preprocess(name: str, member: Any, steps: Mapping[str, Any], reason: str) -> None:
    """Tell which preprocessing was adopted, and why."""
    logger.info(
        "%s: preprocessing of %s (resize %s, crop %s, %s), %s",
        name,
        member.name,
        *(steps[step][0] for step in ("resize", "crop")),
        steps["interpolation"],
        reason,
    )


def unknown_file(published: Mapping[str, Any]) -> str:
    """The reason for a file that is none of the published ones, with the choices where there are several."""
    others = [name for name in published if published[name] != published["DEFAULT"]]
    choice = f"; `preprocess: {' | '.join(others)}` sets another" if others else ""
    return f"since the file is none that torchvision publishes{choice}"


def locate_weights(weights: str, published: Mapping[str, Any]) -> Path:
    """The file of `weights`: a path, or the name of published weights, which are downloaded."""
    if weights in published:
        return checkpoints.download(published[weights].url)
    path = Path(weights)
    if not path.name.endswith(checkpoints.SUFFIXES) and not path.is_file():
        raise IceboxError(
            f"weights: expected '{RANDOM}', a file ({', '.join(checkpoints.SUFFIXES)}) or published "
            f"weights, found '{weights}'; {suggestion(weights, list(published))}"
        )
    if not path.is_file():
        raise IceboxError(
            f"weights: there is no file {path} (looked in {Path.cwd()}); put it there, correct the path, or say "
            f"`weights: {published['DEFAULT'].name}` to have {published['DEFAULT'].url} fetched"
        )
    return path


def load(
    folder: Path,
    *,
    outputs: Sequence[str],
    device: str,
    precision: str = "float32",
    decode: str = FAST,
    size: Size | None = None,
) -> "TorchvisionBackbone":
    """The network that `fetch` left in `folder`, frozen, on `device`; `decode` is fast, exact or draft.

    Images are resized to `size`; None: the size of the weights' preprocessing. With an output that is a map, the whole
    image is stretched to it. Raises IceboxError for a size that the network does not support.
    """
    check_decode(decode)
    settings = read_settings(folder, model=str, preprocess=PREPROCESS)
    network = torchvision_models.build_empty(settings["model"], settings["preprocess"])
    torchvision_models.remove_classifier(network)
    state = network.state_dict()  # filled, not replaced: it carries the version that MNASNet insists on
    state.update(safetensors.torch.load_file(folder / WEIGHTS_FILE))
    network.load_state_dict(state, assign=True)
    settings |= {"preprocess": scale_preprocess(settings["preprocess"], size, whole=holds_map(outputs))}
    spec = {
        "family": "torchvision",
        "version": VERSION,
        "model": settings["model"],
        "weights": fingerprint.of_file(folder / WEIGHTS_FILE),
        "preprocess": settings["preprocess"] | {"decode": decode},
    }
    network = convert_conv2d_weight_memory_format(network.to(device), torch.channels_last)
    backbone = TorchvisionBackbone(
        network, spec=spec, settings=settings, outputs=outputs, precision=precision, device=device
    )
    check_input(backbone, size)
    return backbone


class TorchvisionBackbone(ImageBackbone):
    """Images are decoded, resized and cropped on the CPU as the weights' own transforms do."""

    reentrant: ClassVar[bool] = True

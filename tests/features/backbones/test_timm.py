import importlib.util
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from icebox.features import fingerprint
from icebox.features.abc.backbone import read_settings
from icebox.features.backbones import timm as family
from icebox.features.errors import IceboxError
from icebox.features.nn import blocks
from icebox.features.nn.image_backbone import EXACT
from icebox.features.weights import timm_models
from icebox.pipeline.project import backbone_names
from tests.features.backbones.test_transformers import fetch_from_hub, hub, sha256

TIMM = timm_models.library()
# name → arguments that make it small; tokens and maps, prefixes of 0, 1, 2 and 5 tokens, features first and last
SMALL: dict[str, dict] = {
    "test_vit": {},
    "test_convnext": {},
    "swin_tiny_patch4_window7_224": {"img_size": 56, "embed_dim": 24, "depths": [1, 1], "num_heads": [1, 2]},
    "vit_small_patch16_dinov3": {"img_size": 64, "embed_dim": 48, "depth": 2, "num_heads": 2},
    "deit_tiny_distilled_patch16_224": {"img_size": 32, "embed_dim": 48, "depth": 2, "num_heads": 2},
    "vit_base_patch16_siglip_224": {"img_size": 32, "embed_dim": 48, "depth": 2, "num_heads": 2},
}
PREFIX = {"test_vit": 1, "vit_small_patch16_dinov3": 5, "deit_tiny_distilled_patch16_224": 2}


def jpeg(width: int = 90, height: int = 60, mode: str = "RGB") -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC).convert(mode).save(stream, "JPEG")
    return stream.getvalue()


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Backbone folders with random weights, by model."""
    made: dict[str, Path] = {}

    def folder(model: str) -> Path:
        if model not in made:
            made[model] = tmp_path_factory.mktemp(model)
            family.fetch(made[model], weights="random", model=model, arguments=SMALL[model])
        return made[model]

    return folder


def whole(model: str, seed: int = 1, **arguments: object) -> torch.nn.Module:
    """timm's own network, with its classifier."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return TIMM.create_model(model, **SMALL.get(model, {}) | arguments).eval()


def headless(folder: Path, model: str) -> torch.nn.Module:
    """timm's own network with a backbone's weights."""
    network = TIMM.create_model(model, num_classes=0, **SMALL[model]).eval()
    network.load_state_dict(load_file(folder / "weights.safetensors"))
    return network


def loaded(folder: Path, *outputs: str, **options) -> family.TimmBackbone:
    return family.load(folder, outputs=outputs or ["embedding"], device="cpu", **options)


def features(backbone: family.TimmBackbone, *pictures: bytes) -> dict[str, np.ndarray]:
    return backbone.encode([backbone.prepare(picture) for picture in pictures or [jpeg()]])


@pytest.mark.parametrize("model", SMALL)
def test_features_are_what_timms_own_network_gives(model, drawn):
    backbone = loaded(drawn(model), "embedding", "last:avg", "last:max")
    (pixels,) = backbone.inputs([backbone.prepare(jpeg())]).args
    network = headless(drawn(model), model)
    with torch.inference_mode():
        states, pooled = network.forward_features(pixels), network(pixels)
    rows = states.flatten(1, 2) if model.startswith("swin") else states
    rows = rows[:, PREFIX.get(model, 0) :] if rows.ndim == 3 else rows.flatten(2).transpose(1, 2)
    given = features(backbone)
    np.testing.assert_allclose(given["embedding"], pooled, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(given["last:avg"], rows.mean(1), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(given["last:max"], rows.amax(1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model", SMALL)
def test_a_map_is_the_grid_of_patches_in_its_place(model, drawn):
    backbone = loaded(drawn(model), "last:map")
    (pixels,) = backbone.inputs([backbone.prepare_framed(jpeg())]).args
    network = headless(drawn(model), model)
    with torch.inference_mode():
        states = network.forward_features(pixels)
    if states.ndim == 3:
        side = round((states.shape[1] - PREFIX.get(model, 0)) ** 0.5)
        states = states[:, PREFIX.get(model, 0) :].unflatten(1, (side, side))
    elif not model.startswith("swin"):
        states = states.permute(0, 2, 3, 1)
    np.testing.assert_allclose(features(backbone)["last:map"], states, rtol=1e-4, atol=1e-5)


def test_layers_inside_of_swin_are_read_with_their_features_last(drawn):
    model = "swin_tiny_patch4_window7_224"
    backbone = loaded(drawn(model), "layers.0:avg", "patch_embed.proj:avg", "layers.1:map")
    (pixels,) = backbone.inputs([backbone.prepare_framed(jpeg())]).args
    network = headless(drawn(model), model)
    with torch.inference_mode():
        first = network.layers[0](network.patch_embed(pixels))
        projected = network.patch_embed.proj(pixels)
        second = network.layers[1](first)
    given = features(backbone)
    np.testing.assert_allclose(given["layers.0:avg"], first.mean((1, 2)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(given["patch_embed.proj:avg"], projected.mean((2, 3)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(given["layers.1:map"], second, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model", SMALL)
def test_every_architecture_has_blocks_and_takes_a_step(model, drawn):
    backbone = loaded(drawn(model))
    inputs = backbone.inputs([backbone.prepare(jpeg())])
    backbone.layer_outputs.make_trainable()
    network = backbone.layer_outputs.network
    names = blocks.names(network, lambda: backbone.layer_outputs.tensors(inputs).values())
    assert len(names) >= 3
    before = features(backbone)["embedding"]
    parameters = list(network.get_submodule(names[-2]).requires_grad_(True).parameters())
    values = backbone.layer_outputs.tensors(inputs)["embedding"]
    (values * torch.linspace(-1, 1, values.shape[1])).sum().backward()
    torch.optim.SGD(parameters, lr=0.5).step()
    assert np.abs(before - features(backbone)["embedding"]).max() > 0


def test_a_network_that_keeps_tables_between_passes_takes_several_steps(tmp_path):
    arguments = {"img_size": 64, "embed_dim": [16, 16, 16], "num_heads": [1, 1, 1], "key_dim": 8, "depth": [1, 1, 1]}
    family.fetch(tmp_path, weights="random", model="levit_128s", arguments=arguments)
    backbone = loaded(tmp_path)
    prepared = [backbone.prepare(jpeg())]
    rows = [backbone.encode(prepared)["embedding"]]
    backbone.layer_outputs.make_trainable()
    parameters = list(backbone.layer_outputs.network.requires_grad_(True).parameters())
    for _ in range(2):
        values = backbone.layer_outputs.tensors(backbone.inputs(prepared))["embedding"]
        (values * torch.linspace(-1, 1, values.shape[1])).sum().backward()
        torch.optim.SGD(parameters, lr=0.01).step()
        rows.append(backbone.encode(prepared)["embedding"])
    assert np.abs(rows[1] - rows[0]).max() > 0
    assert np.abs(rows[2] - rows[1]).max() > 0


def test_a_first_layer_of_1x1_with_a_stride_is_trained_without_channels_last(tmp_path):
    family.fetch(tmp_path, weights="random", model="fastvit_t8", arguments={"layers": [1, 1, 1, 1]})
    backbone = loaded(tmp_path, size=64)
    backbone.layer_outputs.make_trainable()
    network = backbone.layer_outputs.network
    layouts: list[bool] = []
    layer = network.get_submodule("stem.0.conv_scale.conv")
    layer.register_forward_pre_hook(lambda _module, args: layouts.append(args[0].is_contiguous()))
    backbone.encode([backbone.prepare(jpeg())])
    assert layouts == [True]  # with channels-last, oneDNN's backward pass ends the process
    assert layer.weight.stride() == (3, 1, 1, 1)


# centre, centre enlarged to less than the crop, not square, stretched whole, stretched and cropped, with a border
PREPARED = [
    "test_vit", "efficientnet_b1", "vit_5b_patch16_sapiens2.fb", "vit_base_patch16_siglip_224", "dm_nfnet_f0.dm_in1k",
    "deepseek_vit_412m.deepseek_v4_1_flash",
]  # fmt: skip


@pytest.mark.parametrize("model", PREPARED)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_prepared_picture_is_that_of_timms_own_transforms(model, mode, monkeypatch):
    config = timm_models.described(model, {})
    steps = timm_models.preprocess_of(config["pretrained_cfg"])
    backbone = object.__new__(family.TimmBackbone)
    monkeypatch.setattr(family.TimmBackbone, "spec", {"preprocess": steps | {"decode": EXACT}})
    data = TIMM.data.resolve_data_config({}, pretrained_cfg=TIMM.get_pretrained_cfg(model).to_dict())
    trusted = TIMM.data.create_transform(**data, normalize=False)
    for picture in (jpeg(mode=mode), jpeg(500, 375, mode=mode), jpeg(40, 300, mode=mode)):
        expected = trusted(Image.open(io.BytesIO(picture)).convert("RGB"))
        assert torch.equal(backbone.prepare(picture), expected)


@pytest.mark.parametrize("model", ["test_vit", "deit_tiny_distilled_patch16_224", "vit_base_patch16_siglip_224"])
def test_another_size_resizes_the_table_of_positions_as_timm_does(tmp_path, drawn, model):
    smaller = loaded(drawn(model), size=96)
    (pixels,) = smaller.inputs([smaller.prepare(jpeg())]).args
    dynamic = TIMM.create_model(model, num_classes=0, **SMALL[model], dynamic_img_size=True).eval()
    dynamic.load_state_dict(load_file(drawn(model) / "weights.safetensors"))
    with torch.inference_mode():
        np.testing.assert_allclose(features(smaller)["embedding"], dynamic(pixels), rtol=1e-4, atol=1e-5)
    wide = features(loaded(drawn(model), "last:map", size=[64, 128]))["last:map"]
    assert wide.shape[1:3] == (4, 8)
    smaller.save(tmp_path)
    again = loaded(tmp_path, size=96)
    np.testing.assert_array_equal(features(again)["embedding"], features(smaller)["embedding"])
    assert again.spec["preprocess"] == smaller.spec["preprocess"]


@pytest.mark.parametrize("model", ["swin_tiny_patch4_window7_224", "vit_small_patch16_dinov3", "test_convnext"])
def test_networks_of_other_kinds_take_other_sizes_too(model, drawn):
    given = features(loaded(drawn(model), "last:map", "embedding", size=112 if "swin" in model else 128))
    assert given["last:map"].shape[1] == given["last:map"].shape[2] > 1
    assert np.isfinite(given["embedding"]).all()


def test_a_size_that_the_network_cannot_take_is_refused(drawn):
    with pytest.raises(IceboxError, match=r"size: the network can't take pictures of 3×3 pixels: "):
        loaded(drawn("test_convnext"), size=3)


def saved(folder: Path, model: str = "test_vit", **arguments: object) -> torch.nn.Module:
    """A folder as timm saves it for the hub."""
    network = whole(model, **arguments)
    TIMM.models.save_for_hf(network, folder, model_args=SMALL.get(model, {}) | arguments, safe_serialization=True)
    return network


@pytest.mark.parametrize("classes", [1000, 7, 0])
@pytest.mark.parametrize("model", ["test_vit", "test_convnext", "deit_tiny_distilled_patch16_224"])
def test_a_folder_of_timms_says_architecture_arguments_and_preprocessing(tmp_path, model, classes):
    network = saved(tmp_path / "hub", model, num_classes=classes)
    config = json.loads((tmp_path / "hub/config.json").read_text())
    config["pretrained_cfg"] |= {"crop_pct": 0.5, "mean": [0.1, 0.2, 0.3], "interpolation": "bilinear"}
    (tmp_path / "hub/config.json").write_text(json.dumps(config))
    family.fetch(tmp_path / "made", weights=str(tmp_path / "hub"))
    backbone = loaded(tmp_path / "made")
    steps = backbone.spec["preprocess"]
    side = SMALL[model].get("img_size", 160)
    assert (steps["resize"], steps["crop"]) == ([2 * side], [side, side])
    assert (steps["mean"], steps["interpolation"]) == ([0.1, 0.2, 0.3], "bilinear")
    (pixels,) = backbone.inputs([backbone.prepare(jpeg())]).args
    network.reset_classifier(0)
    with torch.inference_mode():
        np.testing.assert_allclose(features(backbone)["embedding"], network(pixels), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".ckpt"])
@pytest.mark.parametrize("classes", [1000, 7, 0])
@pytest.mark.parametrize("prefix", ["", "module.", "model.backbone."])
def test_every_kind_of_file_gives_the_same_weights_whatever_its_classes(tmp_path, suffix, classes, prefix):
    tensors = whole("test_vit", num_classes=classes).state_dict()
    named = {f"{prefix}{key}": value for key, value in tensors.items()}
    path = tmp_path / f"own{suffix}"
    save_file(named, path) if suffix == ".safetensors" else torch.save({"state_dict": named}, path)
    family.fetch(tmp_path / "b", model="test_vit", weights=str(path))
    stored = load_file(tmp_path / "b/weights.safetensors")
    assert stored.keys() == {key for key in tensors if not key.startswith("head.")}
    assert all(torch.equal(stored[key], tensors[key]) for key in stored)


def test_names_of_the_networks_authors_are_translated_as_timm_does(tmp_path):
    network = whole("test_convnext", num_classes=5)
    renames = {"stem.0.": "downsample_layers.0.0.", "stem.1.": "downsample_layers.0.1.", "head.fc.": "head."}
    tensors = {}
    for key, value in network.state_dict().items():  # as facebookresearch/ConvNeXt names them
        for new, old in renames.items():
            key = key.replace(new, old)
        if "downsample.0" in key or "downsample.1" in key:
            stage, rest = key.removeprefix("stages.").split(".", 1)
            key = f"downsample_layers.{stage}.{rest.removeprefix('downsample.')}"
        key = key.replace(".blocks.", ".").replace("conv_dw", "dwconv").replace("mlp.fc", "pwconv")
        tensors[key.replace("head.norm.", "norm.")] = value
    assert {"downsample_layers.0.0.weight", "stages.0.0.dwconv.weight", "norm.weight"} <= tensors.keys()
    torch.save({"model": tensors}, tmp_path / "own.pth")
    family.fetch(tmp_path / "b", model="test_convnext", weights=str(tmp_path / "own.pth"))
    stored = load_file(tmp_path / "b/weights.safetensors")
    assert all(torch.equal(stored[key], value) for key, value in network.state_dict().items() if key in stored)


def test_a_file_that_does_not_fit_is_refused_by_names(tmp_path):
    tensors = whole("test_vit").state_dict()
    del tensors["blocks.1.attn.qkv.weight"]
    torch.save(tensors, tmp_path / "own.pth")
    with pytest.raises(
        IceboxError, match=r"own\.pth does not fit timm's test_vit: missing: blocks\.1\.attn\.qkv\.weight$"
    ):
        family.fetch(tmp_path / "b", model="test_vit", weights=str(tmp_path / "own.pth"))
    torch.save(whole("test_resnet").state_dict(), tmp_path / "own.pth")
    with pytest.raises(IceboxError, match=r"does not fit timm's test_vit: missing: cls_token, .* unexpected: conv1"):
        family.fetch(tmp_path / "b", model="test_vit", weights=str(tmp_path / "own.pth"))
    assert not (tmp_path / "b").exists()


def test_weights_are_pinned(tmp_path, caplog):
    saved(tmp_path / "hub")
    digest = sha256(tmp_path / "hub/model.safetensors")
    family.fetch(tmp_path / "a", weights=str(tmp_path / "hub"), sha256=digest)
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    family.fetch(tmp_path / "a", weights=str(tmp_path / "hub"))
    assert any(message.endswith(f"\n    sha256: {digest}") for message in caplog.messages)
    for weights in ("hub", "hub/model.safetensors"):
        with pytest.raises(IceboxError, match=rf"expected sha256 {'0' * 64}, found {digest}"):
            family.fetch(tmp_path / "b", weights=str(tmp_path / weights), model="test_vit", sha256="0" * 64)


@pytest.mark.slow
def test_weights_come_from_the_hub_once_and_then_from_its_cache(tmp_path):
    saved(tmp_path / "hub")
    settings = {"weights": "hub:someone/tiny", "sha256": sha256(tmp_path / "hub/model.safetensors")}
    with hub(tmp_path / "hub") as endpoint:
        assert fetch_from_hub(endpoint, tmp_path / "cache", tmp_path / "a", "timm", **settings) == ""
    assert fetch_from_hub(endpoint, tmp_path / "cache", tmp_path / "b", "timm", **settings) == ""
    family.fetch(tmp_path / "c", weights=str(tmp_path / "hub"))
    for name in "ab":
        assert loaded(tmp_path / name).spec == loaded(tmp_path / "c").spec


def test_a_seed_gives_the_same_bytes_and_leaves_the_callers_generator_alone(tmp_path):
    state = torch.random.get_rng_state()
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        family.fetch(tmp_path / name, model="test_resnet", weights="random", seed=seed)
    sums = {name: fingerprint.of_file(tmp_path / name / "weights.safetensors") for name in "abc"}
    assert sums["a"] == sums["b"] != sums["c"]
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"model": "test_vut", "weights": "random"}, "timm has no network 'test_vut'; did you mean 'test_vit"),
        ({"model": "local-dir:/etc", "weights": "random"}, "timm has no network 'local-dir:/etc'"),
        ({"model": "resnet18.a1_in2k", "weights": "random"}, "did you mean 'resnet18.a1_in1k'"),
        ({"weights": "random"}, "`weights: random` needs `model`"),
        ({"weights": "own.pth"}, "own.pth is a file: it needs `model`"),
        ({"weights": "own.pth", "model": "test_vit"}, r"found no file own\.pth \(looked in"),
        ({"weights": "nowhere"}, "'nowhere' is not a folder"),
        ({"weights": "random", "model": "test_vit", "sha256": "0"}, "no file for `sha256` to pin"),
        ({"weights": "random", "model": "test_vit", "arguments": {"dept": 3}}, r"TypeError: .*'dept'"),
        ({"weights": "random", "model": "test_vit", "arguments": {"checkpoint_path": "x"}}, "Icebox decides that"),
        ({"weights": "random", "model": "test_vit", "arguments": {"in_chans": 4}}, "1 or 3 channels, found 4"),
    ],
)
def test_wrong_settings_say_what_there_is(tmp_path, settings, expected):
    with pytest.raises(IceboxError, match=expected):
        family.fetch(tmp_path / "made", **settings)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"model_type": "vit"}, "read by family: transformers_vision"),
        ({"architecture": "vit_of_2040", "pretrained_cfg": {}}, "has no network 'vit_of_2040'"),
        ({"architecture": "test_vit", "pretrained_cfg": {"interpolation": "spline"}}, "found 'spline'"),
    ],
)
def test_a_config_of_another_kind_is_named(tmp_path, config, expected):
    saved(tmp_path / "hub")
    (tmp_path / "hub/config.json").write_text(json.dumps(config))
    with pytest.raises(IceboxError, match=expected):
        family.fetch(tmp_path / "made", weights=str(tmp_path / "hub"))


def test_a_folder_of_another_network_than_the_named_one_is_refused(tmp_path):
    saved(tmp_path / "hub")
    with pytest.raises(IceboxError, match="expected test_resnet, as `model` says, found test_vit"):
        family.fetch(tmp_path / "made", weights=str(tmp_path / "hub"), model="test_resnet")
    (tmp_path / "hub/config.json").unlink()
    with pytest.raises(IceboxError, match=r"found no config\.json .*; or set `model`"):
        family.fetch(tmp_path / "made", weights=str(tmp_path / "hub"))
    family.fetch(tmp_path / "made", weights=str(tmp_path / "hub"), model="test_vit")


def test_a_network_of_grey_pictures_takes_them(tmp_path):
    family.fetch(tmp_path, model="test_resnet", weights="random", arguments={"in_chans": 1})
    backbone = loaded(tmp_path)
    assert backbone.prepare(jpeg()).shape == (1, 160, 160)
    assert len(read_settings(tmp_path)["preprocess"]["mean"]) == 1
    assert np.isfinite(features(backbone)["embedding"]).all()


def test_without_timm_the_error_has_the_command(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(IceboxError, match=r"^family timm: needs timm, .*; pip install 'icebox\[timm\]'$"):
        family.fetch(tmp_path, model="test_vit", weights="random")


def test_networks_of_timm_are_known_by_their_names_and_folders(tmp_path, monkeypatch):
    assert backbone_names.settings("timm/vit_small_patch16_dinov3.lvd1689m") == {
        "family": "timm",
        "model": "vit_small_patch16_dinov3.lvd1689m",
        "weights": "hub:timm/vit_small_patch16_dinov3.lvd1689m",
    }
    monkeypatch.chdir(tmp_path)
    saved(tmp_path / "mine")
    assert backbone_names.settings("mine") == {"family": "timm", "weights": "mine"}
    shutil.rmtree("mine")

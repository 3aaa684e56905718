import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from icebox.features import fingerprint
from icebox.features.abc.backbone import read_settings
from icebox.features.backbones import transformers_vision
from icebox.features.errors import IceboxError, ItemError
from icebox.features.weights import image_processors, transformers_checkpoints
from icebox.features.weights.transformers_models import import_transformers, silence

SIZE = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
PICTURES = [(50, 40, 3), (40, 51, 3), (33, 97, 3), (300, 200, 3), (28, 28), (16, 16, 3)]


@pytest.fixture(autouse=True)
def one_thread():
    """Two threads on busy cores spend their time waiting for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def vit():
    named = import_transformers()
    config = named.ViTConfig(image_size=32, patch_size=8, **SIZE)
    return named.ViTModel(config), named.ViTImageProcessor(size={"height": 32, "width": 32})


def dinov2():
    named = import_transformers()
    config = named.Dinov2Config(image_size=28, patch_size=14, mlp_ratio=2, **SIZE)
    sizes = {"size": {"shortest_edge": 32}, "crop_size": {"height": 28, "width": 28}}
    return named.Dinov2Model(config), named.BitImageProcessor(**sizes)


def dinov2_registers():
    named = import_transformers()
    config = named.Dinov2WithRegistersConfig(image_size=28, patch_size=14, mlp_ratio=2, num_register_tokens=4, **SIZE)
    return named.Dinov2WithRegistersModel(config), dinov2()[1]


def clip():
    named = import_transformers()
    sides = {"text_config": {**SIZE, "vocab_size": 30}, "vision_config": {**SIZE, "image_size": 32, "patch_size": 8}}
    processor = named.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    return named.CLIPModel(named.CLIPConfig(**sides, projection_dim=8)), processor


def swin():
    named = import_transformers()
    config = named.SwinConfig(image_size=32, patch_size=4, embed_dim=8, depths=[1, 1], num_heads=[1, 2], window_size=4)
    return named.SwinModel(config), named.ViTImageProcessor(size={"height": 32, "width": 32})


def convnext():
    named = import_transformers()
    config = named.ConvNextConfig(image_size=32, hidden_sizes=[8, 16, 16, 16], depths=[1, 1, 1, 1])
    return named.ConvNextModel(config), named.ConvNextImageProcessor(size={"shortest_edge": 32}, crop_pct=0.875)


TINY = {
    "vit": vit, "dinov2": dinov2, "dinov2_registers": dinov2_registers, "clip": clip, "swin": swin,
    "convnext": convnext,
}  # fmt: skip
BEFORE_PATCHES = {"vit": 1, "dinov2": 1, "dinov2_registers": 5, "clip": 1, "swin": 0, "convnext": 0}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Folders as `save_pretrained` leaves them, by family."""
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            with torch.random.fork_rng(), silence():
                torch.manual_seed(0)
                network, processor = TINY[name]()
                network.save_pretrained(made[name])
                processor.save_pretrained(made[name])
        return made[name]

    return folder


def fetched(folder: Path, source: Path, outputs=transformers_vision.DEFAULT_OUTPUTS, **settings):
    transformers_vision.fetch(folder, weights=str(source), **settings)
    return transformers_vision.load(folder, outputs=outputs, device="cpu")


def pictures() -> list[np.ndarray]:
    """Smooth ones, as photos are, and with hard edges."""
    random = np.random.default_rng(0)
    made = []
    for shape in PICTURES:
        small = Image.fromarray(random.integers(0, 256, (9, 9, *shape[2:]), np.uint8))
        made.append(np.array(small.resize((shape[1], shape[0]), Image.Resampling.BICUBIC)))
        made[-1][: shape[0] // 3, : shape[1] // 2] = 255
    return made


def by_the_library(source: Path, content: list[np.ndarray]) -> torch.Tensor:
    processor = import_transformers().AutoImageProcessor.from_pretrained(source, local_files_only=True)
    rgb = [Image.fromarray(pixels).convert("RGB") for pixels in content]
    return processor(rgb, return_tensors="pt")["pixel_values"]


@pytest.mark.parametrize("name", TINY)
def test_pictures_become_what_the_librarys_own_processor_makes_of_them(name, tiny, tmp_path):
    network = fetched(tmp_path, tiny(name))
    trusted = by_the_library(tiny(name), pictures())
    ours = network.inputs([network.prepare(pixels) for pixels in pictures()]).args[0]
    assert ours.shape == trusted.shape
    level = network.preprocess["scale"] / torch.tensor(network.preprocess["std"])[:, None, None]
    apart = ((ours - trusted) / level).abs()  # in levels of 0..255
    assert apart.max() < 3.01
    assert apart.mean() < 0.3


@pytest.mark.real_data
@pytest.mark.skipif("ICEBOX_REAL_DATA" not in os.environ, reason="ICEBOX_REAL_DATA names no folder")
@pytest.mark.parametrize("processor", ["ViTImageProcessor", "CLIPImageProcessor", "DeiTImageProcessor"])
def test_real_photos_become_what_the_librarys_own_processor_makes_of_them(processor, tiny, tmp_path):
    source = shutil.copytree(tiny("vit"), tmp_path / "source")
    getattr(import_transformers(), processor)().save_pretrained(source)
    files = sorted(Path(os.environ["ICEBOX_REAL_DATA"], "flowers5/roses").iterdir())[:8]
    steps = image_processors.preprocess_of(source)
    trusted = by_the_library(source, [np.array(Image.open(file)) for file in files])
    ours = torch.stack([image_processors.preprocess_image(file.read_bytes(), steps) for file in files]).float()
    level = steps["scale"] / torch.tensor(steps["std"])[:, None, None]
    apart = (ours - (trusted / level + torch.tensor(steps["mean"])[:, None, None] / steps["scale"])).abs()
    assert apart.max() < 3.01
    assert apart.mean() < 0.3


@pytest.mark.parametrize("name", TINY)
def test_outputs_are_the_librarys_own_network_by_hand(name, tiny, tmp_path):
    whole = import_transformers().AutoModel.from_pretrained(tiny(name), local_files_only=True).eval()
    network = fetched(tmp_path, tiny(name))
    prepared = [network.prepare(pixels) for pixels in pictures()[:3]]
    with torch.no_grad():
        pixels = network.inputs(prepared).args[0]
        last = (whole.vision_model if name == "clip" else whole)(pixel_values=pixels).last_hidden_state
    expected = last.mean((2, 3)) if last.ndim == 4 else last[:, BEFORE_PATCHES[name] :].mean(1)
    np.testing.assert_allclose(network.encode(prepared)["last:avg"], expected, atol=1e-5)


@pytest.mark.parametrize("name", ["vit", "dinov2_registers", "clip"])
def test_layers_and_poolings_by_name(name, tiny, tmp_path):
    layer = {"vit": "layers.0", "dinov2_registers": "encoder.layer.0", "clip": "encoder.layers.0"}[name]
    transformers_vision.fetch(tmp_path, weights=str(tiny(name)))
    network = transformers_vision.load(tmp_path, outputs=["last:cls", "last:max", f"{layer}:cls"], device="cpu")
    whole = import_transformers().AutoModel.from_pretrained(tiny(name), local_files_only=True).eval()
    prepared = [network.prepare(pixels) for pixels in pictures()[:3]]
    with torch.no_grad():
        side = whole.vision_model if name == "clip" else whole
        said = side(pixel_values=network.inputs(prepared).args[0], output_hidden_states=True)
    found = network.encode(prepared)
    np.testing.assert_allclose(found["last:cls"], said.last_hidden_state[:, 0], atol=1e-5)
    np.testing.assert_allclose(found["last:max"], said.last_hidden_state[:, BEFORE_PATCHES[name] :].amax(1), atol=1e-5)
    np.testing.assert_allclose(found[f"{layer}:cls"], said.hidden_states[1][:, 0], atol=1e-5)


@pytest.mark.parametrize("name", TINY)
def test_saved_and_loaded_again_it_is_the_same(name, tiny, tmp_path):
    first = fetched(tmp_path / "a", tiny(name))
    first.save(tmp_path / "b")
    second = transformers_vision.load(tmp_path / "b", outputs=transformers_vision.DEFAULT_OUTPUTS, device="cpu")
    item = pictures()[0]
    np.testing.assert_array_equal(
        first.encode([first.prepare(item)])["last:avg"], second.encode([second.prepare(item)])["last:avg"]
    )


def test_random_weights_come_from_the_seed_alone(tiny, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        torch.rand(1)
        transformers_vision.fetch(tmp_path / name, weights="random", config=str(tiny("vit")), seed=seed)
    sums = [fingerprint.of_file(tmp_path / name / transformers_checkpoints.SAVED) for name in "abc"]
    assert sums[0] == sums[1] != sums[2]
    network = transformers_vision.load(tmp_path / "a", outputs=["last:cls"], device="cpu")
    assert network.encode([network.prepare(pictures()[0])])["last:cls"].shape == (1, 16)


def test_the_fingerprint_hangs_on_weights_config_and_preprocessing(tiny, tmp_path):
    source = shutil.copytree(tiny("vit"), tmp_path / "source")
    specs = [fetched(tmp_path / "a", source).spec, fetched(tmp_path / "same", source).spec]
    settings = json.loads((source / "preprocessor_config.json").read_text())
    (source / "preprocessor_config.json").write_text(json.dumps(settings | {"resample": 3}))
    specs.append(fetched(tmp_path / "b", source).spec)
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps(config | {"layer_norm_eps": 1e-3}))
    specs.append(fetched(tmp_path / "c", source).spec)
    prints = [fingerprint.of_settings(spec) for spec in specs]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3


def test_weights_are_pinned(tiny, tmp_path, caplog):
    digest = fingerprint.of_file(tiny("vit") / "model.safetensors")
    fetched(tmp_path / "a", tiny("vit"))
    assert f"sha256: {digest}" in caplog.text
    fetched(tmp_path / "b", tiny("vit"), sha256=digest)
    assert read_settings(tmp_path / "b")["sha256"] == digest
    with pytest.raises(IceboxError, match="sha256"):
        fetched(tmp_path / "c", tiny("vit"), sha256="0" * 64)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"do_pad": True}, r"does what Icebox does not: do_pad"),
        ({"size": {"longest_edge": 32}}, "does what Icebox does not: size"),
        ({"image_processor_type": "NoSuchProcessor"}, "transformers can't load"),
    ],
)
def test_image_processors_that_do_something_else_are_refused(tiny, tmp_path, changes, message):
    source = shutil.copytree(tiny("vit"), tmp_path / "source")
    settings = json.loads((source / "preprocessor_config.json").read_text())
    (source / "preprocessor_config.json").write_text(json.dumps(settings | changes))
    with pytest.raises(IceboxError, match=message):
        transformers_vision.fetch(tmp_path / "a", weights=str(source))


def test_pictures_of_different_sizes_are_refused_at_load(tiny, tmp_path):
    source = shutil.copytree(tiny("dinov2"), tmp_path / "source")
    settings = json.loads((source / "preprocessor_config.json").read_text())
    (source / "preprocessor_config.json").write_text(json.dumps(settings | {"do_center_crop": False}))
    with pytest.raises(IceboxError, match="pictures of different sizes; set do_center_crop"):
        fetched(tmp_path / "a", source)


@pytest.mark.parametrize("missing", ["config.json", "preprocessor_config.json", "model.safetensors"])
def test_a_missing_file_is_named_at_fetch(tiny, tmp_path, missing):
    source = shutil.copytree(tiny("vit"), tmp_path / "source")
    (source / missing).unlink()
    with pytest.raises(IceboxError, match=f"found no .*{missing}"):
        transformers_vision.fetch(tmp_path / "a", weights=str(source))


@pytest.mark.parametrize("settings", [{}, {"config": "x", "sha256": "0" * 64}])
def test_random_weights_need_a_config_and_no_pin(tmp_path, settings):
    with pytest.raises(IceboxError, match="`weights: random` needs `config`"):
        transformers_vision.fetch(tmp_path, weights="random", **settings)


def test_layers_that_the_weights_lack_are_refused_and_a_missing_pooler_is_not(tiny, tmp_path):
    from safetensors.torch import load_file, save_file

    source = shutil.copytree(tiny("vit"), tmp_path / "source")
    tensors = load_file(source / "model.safetensors")
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith("pooler.")}
    assert len(kept) < len(tensors)
    save_file(kept, source / "model.safetensors", metadata={"format": "pt"})
    fetched(tmp_path / "a", source)
    save_file({k: v for k, v in kept.items() if "layer.1." not in k}, source / "model.safetensors", {"format": "pt"})
    with pytest.raises(IceboxError, match=r"lack .* parameters that the outputs"):
        fetched(tmp_path / "b", source)


def test_what_is_no_picture_is_an_item_error(tiny, tmp_path):
    network = fetched(tmp_path, tiny("vit"))
    for content in ("text", b"no picture"):
        with pytest.raises(ItemError):
            network.prepare(content)


@pytest.mark.parametrize(
    ("name", "size", "resize", "crop"),
    [("dinov2", 56, [64], [56, 56]), ("swin", 64, [64, 64], None), ("convnext", 64, [72], [64, 64])],
)
def test_a_size_keeps_the_share_of_the_picture_that_is_seen(tmp_path, tiny, name, size, resize, crop):
    transformers_vision.fetch(tmp_path / "b", weights=str(tiny(name)))
    output = "last:avg" if name == "convnext" else "last:tokens"
    own, other = (
        transformers_vision.load(tmp_path / "b", outputs=[output], device="cpu", size=given) for given in (None, size)
    )
    assert (other.spec["preprocess"]["resize"], other.spec["preprocess"]["crop"]) == (resize, crop)
    assert fingerprint.of_settings(own.spec) != fingerprint.of_settings(other.spec)
    picture = np.random.default_rng(0).integers(0, 256, (90, 70, 3), np.uint8)
    assert other.prepare(picture).shape == other.prepare_framed(picture).shape == (3, size, size)
    if output == "last:tokens":
        tokens = [network.encode([network.prepare(picture)])[output] for network in (own, other)]
        assert len(tokens[1][0]) == 4 * len(tokens[0][0])
    other.save(tmp_path / "saved")
    again = transformers_vision.load(tmp_path / "saved", outputs=["last:avg"], device="cpu")
    assert again.prepare(picture).shape == (3, size, size)


def test_a_size_that_the_network_cannot_take_is_refused(tmp_path, tiny):
    transformers_vision.fetch(tmp_path, weights=str(tiny("vit")))
    with pytest.raises(IceboxError, match="size: the network can't take pictures of 4×4 pixels: "):
        transformers_vision.load(tmp_path, outputs=["last:avg"], device="cpu", size=4)


@pytest.mark.parametrize("name", ["vit", "clip", "swin"])
@pytest.mark.parametrize("size", [48, [40, 56]])
def test_positions_are_interpolated_to_another_size_as_transformers_does_it(tmp_path, tiny, name, size, caplog):
    transformers_vision.fetch(tmp_path / "b", weights=str(tiny(name)))
    backbone = transformers_vision.load(tmp_path / "b", outputs=["last:tokens"], device="cpu", size=size)
    picture = np.random.default_rng(0).integers(0, 256, (90, 70, 3), np.uint8)
    prepared = backbone.prepare(picture)
    assert prepared.shape == (3, *([size, size] if isinstance(size, int) else size))
    whole = import_transformers().AutoModel.from_pretrained(tmp_path / "b").eval()
    network = whole.vision_model if name == "clip" else whole
    with torch.inference_mode():
        expected = network(backbone.normalize(prepared[None]), interpolate_pos_encoding=True).last_hidden_state[0]
    features = backbone.encode([prepared])["last:tokens"]
    np.testing.assert_allclose(features[0], expected[backbone.before_patches :], atol=1e-5)
    assert "positions of 32×32 pixels are interpolated to " in caplog.text or name == "swin"
    backbone.save(tmp_path / "saved")
    again = transformers_vision.load(tmp_path / "saved", outputs=["last:tokens"], device="cpu")
    np.testing.assert_allclose(again.encode([prepared])["last:tokens"][0], features[0], atol=1e-6)
    backbone.layer_outputs.make_trainable()
    backbone.layer_outputs.network.requires_grad_()
    backbone.layer_outputs.tensors(backbone.inputs([prepared]))["last:tokens"].sum().backward()


def test_at_their_own_size_positions_stay_as_they_are(tmp_path, tiny, caplog):
    transformers_vision.fetch(tmp_path, weights=str(tiny("vit")))
    for size in (None, 32):
        transformers_vision.load(tmp_path, outputs=["last:avg"], device="cpu", size=size)
    assert "interpolated" not in caplog.text


def test_a_framed_picture_is_seen_whole(tmp_path, tiny):
    transformers_vision.fetch(tmp_path, weights=str(tiny("dinov2")))
    backbone = transformers_vision.load(tmp_path, outputs=["last:avg"], device="cpu")
    picture = np.zeros((100, 200, 3), np.uint8)
    picture[:, 180:] = 255
    assert backbone.prepare(picture).max() == 0
    assert backbone.prepare_framed(picture)[:, :, 27:].min() > 200

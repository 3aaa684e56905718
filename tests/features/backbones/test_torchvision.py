import hashlib
import io
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from icebox.features import fingerprint
from icebox.features.abc.backbone import read_settings
from icebox.features.backbones import torchvision
from icebox.features.errors import IceboxError
from icebox.features.nn import image_backbone
from icebox.features.weights import torchvision_models

MODELS = torchvision_models.library().models
SMALL = "shufflenet_v2_x0_5"  # the fewest parameters with batch norm: 0.35 million


@pytest.fixture(autouse=True)
def one_thread():
    """Two threads on busy cores spend their time waiting for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def jpeg(width: int = 300, height: int = 200, mode: str = "RGB") -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (height // 20, width // 20, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC).convert(mode).save(stream, "JPEG")
    return stream.getvalue()


def whole(model: str = SMALL, seed: int = 1, **options: object) -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return MODELS.get_model(model, weights=None, **options).eval()


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def fetched(folder, outputs=torchvision.DEFAULT_OUTPUTS, **settings):
    torchvision.fetch(folder, **settings)
    return torchvision.load(folder, outputs=outputs, device="cpu")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """torch's cache in a fresh folder; returns where its checkpoints go."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    return tmp_path / "hub" / "checkpoints"


@pytest.mark.parametrize(
    ("model", "width"),
    [
        ("squeezenet1_1", 512),  # its classifier is a convolution, before the pool
        ("resnet18", 512),
        ("googlenet", 1024),  # without its second classifiers
        ("mnasnet0_5", 1280),  # the one that asks for its version when loaded
        ("regnet_y_400mf", 440),
        (SMALL, 1024),
    ],
)
@pytest.mark.slow
def test_random_weights_give_one_finite_vector_a_picture_through_real_networks(tmp_path, model, width):
    backbone = fetched(tmp_path, model=model, weights="random")
    features = backbone.encode([backbone.prepare(jpeg()), backbone.prepare(np.full((9, 9), 255, np.uint8))])["last"]
    assert (features.shape, features.dtype) == ((2, width), np.float32)
    assert np.isfinite(features).all()
    assert np.abs(features[0] - features[1]).max() > 1e-3 * np.abs(features).max()


def test_features_are_what_the_whole_network_gives_its_classifier(tmp_path):
    network = whole()
    torch.save(network.state_dict(), tmp_path / "own.pth")
    backbone = fetched(tmp_path / "b", model=SMALL, weights=str(tmp_path / "own.pth"))
    picture = jpeg()
    with torch.inference_mode():
        steps = MODELS.get_model_weights(SMALL).DEFAULT.transforms()
        expected = network(steps(Image.open(io.BytesIO(picture)))[None])
        given = network.fc(torch.from_numpy(backbone.encode([backbone.prepare(picture)])["last"]))
    assert torch.allclose(given, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model", ["resnet50", "efficientnet_b0", "inception_v3", "swin_t", "squeezenet1_1"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize(
    ("decode", "levels_max", "share_max"), [(image_backbone.EXACT, 0, 0), (image_backbone.FAST, 2, 0.01)]
)
def test_a_prepared_picture_is_that_of_the_weights_own_transforms(model, mode, decode, levels_max, share_max):
    member = torchvision_models.published_weights(model)["DEFAULT"]
    steps = torchvision_models.preprocess_of(member)
    backbone = torchvision.TorchvisionBackbone(
        torch.nn.Identity(),
        spec={"preprocess": steps | {"decode": decode}},
        settings={},
        outputs=[],
        precision="float32",
        device="cpu",
    )
    for picture in (jpeg(mode=mode), jpeg(500, 375, mode=mode)):  # enlarged, reduced
        (pixels,) = backbone.inputs([backbone.prepare(picture)]).args
        trusted = member.transforms()(Image.open(io.BytesIO(picture)).convert("RGB"))
        levels = (pixels[0] - trusted).abs() * torch.tensor(steps["std"])[:, None, None] * 255
        assert levels.max() < levels_max + 0.001
        assert (levels > 0.001).float().mean() <= share_max


def test_a_draft_is_another_fingerprint_and_nearly_the_same_features(tmp_path):
    torchvision.fetch(tmp_path, model=SMALL, weights="random")
    exact, draft = (
        torchvision.load(tmp_path, outputs=["last"], device="cpu", decode=decode)
        for decode in (image_backbone.FAST, image_backbone.DRAFT)
    )
    assert fingerprint.of_settings(exact.spec) != fingerprint.of_settings(draft.spec)
    picture = jpeg(1600, 1200)
    features, drafted = (backbone.encode([backbone.prepare(picture)])["last"] for backbone in (exact, draft))
    assert 0 < np.linalg.norm(drafted - features) / np.linalg.norm(features) < 0.05
    with pytest.raises(IceboxError, match="decode: expected one of fast, exact, draft, found 'quick'"):
        torchvision.load(tmp_path, outputs=["last"], device="cpu", decode="quick")


def test_a_size_keeps_the_share_of_the_picture_that_is_seen_and_is_another_fingerprint(tmp_path):
    torchvision.fetch(tmp_path, model=SMALL, weights="random")
    own, half, same = (
        torchvision.load(tmp_path, outputs=["last"], device="cpu", size=size) for size in (None, 112, 224)
    )
    steps = half.spec["preprocess"]
    assert (steps["resize"], steps["crop"]) == ([round(112 * own.spec["preprocess"]["resize"][0] / 224)], [112])
    assert half.prepare(jpeg()).shape == half.prepare_framed(jpeg()).shape == (3, 112, 112)
    specs = [fingerprint.of_settings(backbone.spec) for backbone in (own, half, same)]
    assert specs[0] == specs[2] != specs[1]
    picture = np.full((40, 30), 99, np.uint8)
    picture[5:20] = 7
    features = [backbone.encode([backbone.prepare(picture)])["last"] for backbone in (own, half)]
    assert features[0].shape == features[1].shape
    trusted = torchvision_models.library().transforms
    seen = trusted.Compose([trusted.Resize(steps["resize"][0]), trusted.CenterCrop(112)])(Image.fromarray(picture))
    levels = np.abs(half.prepare(picture).numpy()[0].astype(int) - np.asarray(seen))
    assert levels.max() <= 1


@pytest.mark.parametrize(("model", "size"), [("vit_b_32", 96), ("alexnet", 16)])
@pytest.mark.slow
def test_a_size_that_the_network_cannot_take_is_refused(tmp_path, model, size):
    torchvision.fetch(tmp_path, model=model, weights="random")
    with pytest.raises(IceboxError, match=f"size: the network can't take pictures of {size}×{size} pixels: "):
        torchvision.load(tmp_path, outputs=["last"], device="cpu", size=size)


def test_a_framed_picture_is_resized_whole(tmp_path):
    backbone = fetched(tmp_path, model=SMALL, weights="random")
    picture = np.zeros((100, 200, 3), np.uint8)
    picture[:, 190:] = 255
    assert backbone.prepare(picture).max() == 0
    assert backbone.prepare_framed(picture)[:, :, 215:].min() == 255


def test_other_layers_come_from_the_same_pass_and_no_row_depends_on_its_batch_mates(tmp_path):
    outputs = ("last", "conv5:avg", "conv5:max", "stage2:avg")
    backbone = fetched(tmp_path, outputs, model=SMALL, weights="random")
    pictures = [backbone.prepare(jpeg(width)) for width in (300, 200, 240)]
    together = backbone.encode(pictures)
    assert tuple(together) == backbone.outputs == outputs
    assert np.allclose(together["last"], together["conv5:avg"], rtol=1e-5, atol=1e-6)
    alone = backbone.encode(pictures[1:2])
    assert all(np.allclose(together[name][1], alone[name][0], rtol=1e-4, atol=1e-5) for name in outputs)


def test_a_seed_gives_the_same_bytes_and_leaves_the_callers_generator_alone(tmp_path):
    state = torch.random.get_rng_state()
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        torchvision.fetch(tmp_path / name, model=SMALL, weights="random", seed=seed)
    sums = {name: sha256(tmp_path / name / "weights.safetensors") for name in "abc"}
    assert sums["a"] == sums["b"] != sums["c"]
    assert torch.equal(state, torch.random.get_rng_state())
    assert torchvision.load(tmp_path / "a", outputs=["last"], device="cpu").spec["weights"] == sums["a"]


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".th", ".safetensors"])
@pytest.mark.parametrize("classes", [1000, 7])
def test_every_kind_of_file_gives_the_same_weights_whatever_its_classes(tmp_path, suffix, classes):
    tensors = {key: value for key, value in whole(num_classes=classes).state_dict().items()}
    path = tmp_path / f"own{suffix}"
    save_file(tensors, path) if suffix == ".safetensors" else torch.save(tensors, path)
    torchvision.fetch(tmp_path / "b", model=SMALL, weights=str(path))
    stored = load_file(tmp_path / "b/weights.safetensors")
    assert set(stored) == {key for key in tensors if not key.startswith("fc.")}
    assert all(torch.equal(stored[key], tensors[key]) for key in stored)


def test_a_file_without_a_classifier_fits_and_one_without_another_layer_does_not(tmp_path):
    tensors = {key: value for key, value in whole().state_dict().items() if not key.startswith("fc.")}
    torch.save(tensors, tmp_path / "own.pth")
    torchvision.fetch(tmp_path / "a", model=SMALL, weights=str(tmp_path / "own.pth"))
    del tensors["conv5.0.weight"]
    torch.save(tensors, tmp_path / "own.pth")
    with pytest.raises(IceboxError, match=rf"does not fit torchvision's {SMALL}: missing: conv5\.0\.weight"):
        torchvision.fetch(tmp_path / "b", model=SMALL, weights=str(tmp_path / "own.pth"))
    assert not (tmp_path / "b").exists()


def test_a_pinned_file_that_differs_is_refused_naming_both_sums(tmp_path, caplog):
    path = tmp_path / "own.pth"
    torch.save(whole().state_dict(), path)
    torchvision.fetch(tmp_path / "b", model=SMALL, weights=str(path), sha256=sha256(path).upper())
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    with pytest.raises(IceboxError, match=rf"expected sha256 {'0' * 64}, found {sha256(path)}"):
        torchvision.fetch(tmp_path / "b", model=SMALL, weights=str(path), sha256="0" * 64)
    torchvision.fetch(tmp_path / "b", model=SMALL, weights=str(path))
    assert any(message.endswith(f"\n    sha256: {sha256(path)}") for message in caplog.messages)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"model": "resnet19", "weights": "random"}, "did you mean 'resnet1"),
        ({"model": "fcn_resnet50", "weights": "random"}, "no classification network 'fcn_resnet50'"),
        ({"model": "resnet18", "weights": "IMAGENET1K_V7"}, "did you mean 'IMAGENET1K_V1'"),
        (
            {"model": "resnet18", "weights": "nowhere/x.pth"},
            r"no file nowhere/x\.pth .*put it there.*weights: IMAGENET1K_V1.*resnet18-\w+\.pth",
        ),
        ({"model": "resnet18", "weights": "random", "sha256": "0"}, "no file for `sha256` to pin"),
    ],
)
def test_wrong_settings_say_what_there_is(tmp_path, settings, expected):
    with pytest.raises(IceboxError, match=expected):
        torchvision.fetch(tmp_path, **settings)


def test_published_weights_are_downloaded_once_and_bring_their_own_preprocessing(tmp_path, hub, monkeypatch):
    folder = tmp_path / "served"
    folder.mkdir()
    torch.save(whole("mobilenet_v2").state_dict(), folder / "new.pth")
    path = (folder / "new.pth").rename(folder / f"mobilenet_v2-{sha256(folder / 'new.pth')[:8]}.pth")
    members = torchvision_models.published_weights("mobilenet_v2")
    monkeypatch.setattr(members["IMAGENET1K_V1"].value, "url", path.as_uri())
    first = fetched(tmp_path / "a", model="mobilenet_v2", weights="IMAGENET1K_V1")
    assert first.spec["preprocess"]["resize"] == [256]
    assert (hub / path.name).read_bytes() == path.read_bytes()
    path.unlink()
    again = fetched(tmp_path / "b", model="mobilenet_v2", weights="IMAGENET1K_V1", sha256=sha256(hub / path.name))
    by_hand = fetched(tmp_path / "c", model="mobilenet_v2", weights=str(hub / path.name))
    assert first.spec == again.spec == by_hand.spec
    renamed = (hub / path.name).rename(tmp_path / "own.pth")
    by_hash = fetched(tmp_path / "d", model="mobilenet_v2", weights=str(renamed))
    assert by_hash.spec == first.spec


@pytest.mark.parametrize(
    ("name", "settings", "resize", "reason"),
    [
        ("V1", {}, 256, "IMAGENET1K_V1 .*, by the file's name"),
        ("V2", {}, 232, "IMAGENET1K_V2 .*, by the file's name"),
        ("mobilenet_v2-0123abcd.pth", {}, 256, "IMAGENET1K_V1 .*, one of torchvision's older ones"),
        ("own.pth", {}, 232, "IMAGENET1K_V2 .* none that torchvision publishes; `preprocess: IMAGENET1K_V1` sets"),
        ("own.pth", {"preprocess": "IMAGENET1K_V1"}, 256, "IMAGENET1K_V1 .*, as set"),
        ("V1", {"preprocess": "IMAGENET1K_V2"}, 232, "IMAGENET1K_V2 .*, as set"),
    ],
)
def test_the_preprocessing_that_was_adopted_is_told_and_can_be_set(tmp_path, caplog, name, settings, resize, reason):
    caplog.set_level("INFO", "icebox")
    published = torchvision_models.published_weights("mobilenet_v2")
    path = tmp_path / (Path(published[f"IMAGENET1K_{name}"].url).name if name in ("V1", "V2") else name)
    torch.save(whole("mobilenet_v2").state_dict(), path)
    torchvision.fetch(tmp_path / "b", model="mobilenet_v2", weights=str(path), **settings)
    assert read_settings(tmp_path / "b")["preprocess"]["resize"] == [resize]
    assert re.search(reason.replace("one of", "by the file's name, one of"), "\n".join(caplog.messages))


def test_a_preprocessing_of_another_network_is_refused(tmp_path):
    with pytest.raises(IceboxError, match=r"preprocess: expected .* of mobilenet_v2, found 'V2'; did you mean"):
        torchvision.fetch(tmp_path, model="mobilenet_v2", weights="random", preprocess="V2")


CLASSIFIERS = {
    "another shape": torch.nn.Linear(1280, 3),
    "another form": torch.nn.Sequential(torch.nn.Linear(1280, 64), torch.nn.ReLU(), torch.nn.Linear(64, 3)),
    "none": torch.nn.Identity(),
}


@pytest.mark.parametrize("classifier", CLASSIFIERS)
@pytest.mark.parametrize("prefix", ["", "model.", "module.encoder_q."])
@pytest.mark.slow
def test_a_network_with_a_classifier_of_any_form_under_any_prefix_is_taken(tmp_path, classifier, prefix):
    network = whole("mobilenet_v2")
    torch.save(network.state_dict(), tmp_path / "own.pth")
    network.classifier = CLASSIFIERS[classifier]
    own = {f"{prefix}{key}": value for key, value in network.state_dict().items()}
    torch.save({"state_dict": own | ({"queue": torch.ones(3)} if prefix else {})}, tmp_path / "own.ckpt")
    for name in ("own.pth", "own.ckpt"):
        torchvision.fetch(tmp_path / name[4:], model="mobilenet_v2", weights=str(tmp_path / name))
    assert sha256(tmp_path / "pth/weights.safetensors") == sha256(tmp_path / "ckpt/weights.safetensors")


def test_a_layer_that_the_network_has_not_is_refused_under_a_prefix_too(tmp_path):
    own = {f"model.{key}": value for key, value in whole().state_dict().items()}
    torch.save({**own, "model.stage2.0.attention.weight": torch.ones(3), "loss": torch.ones(1)}, tmp_path / "own.ckpt")
    with pytest.raises(IceboxError, match=r"unexpected: stage2\.0\.attention\.weight$"):
        torchvision.fetch(tmp_path / "b", model=SMALL, weights=str(tmp_path / "own.ckpt"))


@pytest.fixture
def real():
    if "ICEBOX_REAL_DATA" not in os.environ:
        pytest.skip("ICEBOX_REAL_DATA names no folder of real data")
    return Path(os.environ["ICEBOX_REAL_DATA"])


@pytest.mark.real_data
def test_real_squeezenet_tells_a_rose_from_a_daisy(tmp_path, real):
    weights = real.parent / "weights/squeezenet1_1-imagenet-features.safetensors"
    backbone = fetched(tmp_path, model="squeezenet1_1", weights=str(weights))
    files = [sorted((real / "flowers5" / kind).iterdir())[:24] for kind in ("roses", "daisy")]
    roses, daisies = (backbone.encode([backbone.prepare(file.read_bytes()) for file in kind])["last"] for kind in files)
    centres = roses[:12].mean(0), daisies[:12].mean(0)
    nearer = [
        np.linalg.norm(kind[12:] - centres[0], axis=1) < np.linalg.norm(kind[12:] - centres[1], axis=1)
        for kind in (roses, daisies)
    ]
    assert nearer[0].mean() > 0.75
    assert nearer[1].mean() < 0.25


@pytest.mark.real_data
def test_a_real_checkpoint_of_another_network_is_refused_by_its_keys(tmp_path, real):
    weights = real.parent / "weights/resnet20-12fca82f.th"
    with pytest.raises(
        IceboxError, match=r"does not fit torchvision's resnet18: missing: layer2\.0\.down.*unexpected: layer1\.2"
    ):
        torchvision.fetch(tmp_path, model="resnet18", weights=str(weights))


def test_with_a_map_the_whole_picture_is_seen_at_any_height_and_width(tmp_path):
    torchvision.fetch(tmp_path, model="resnet18", weights="random")
    backbone = torchvision.load(tmp_path, outputs=["layer2:map", "layer4:map-1x2"], device="cpu", size=[32, 64])
    assert backbone.spec["preprocess"]["resize"] == backbone.spec["preprocess"]["crop"] == [32, 64]
    picture = np.zeros((50, 70, 3), np.uint8)
    picture[:, :2] = 255  # a margin that a central crop would lose
    prepared = backbone.prepare(picture)
    assert prepared.shape == (3, 32, 64)
    assert prepared[:, :, 0].min() > 200
    features = backbone.encode([prepared])
    assert features["layer2:map"].shape == (1, 4, 8, 128)
    assert features["layer4:map-1x2"].shape == (1, 1, 2, 512)


def test_a_map_is_what_the_layer_returned(tmp_path):
    torchvision.fetch(tmp_path, model="resnet18", weights="random")
    mapped = torchvision.load(tmp_path, outputs=["layer2:map", "layer2:avg"], device="cpu", size=32)
    features = mapped.encode([mapped.prepare(np.full((9, 9, 3), 90, np.uint8))])
    np.testing.assert_allclose(features["layer2:map"].mean((1, 2)), features["layer2:avg"], rtol=1e-5)

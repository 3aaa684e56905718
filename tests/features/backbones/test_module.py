import contextlib
import os
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from icebox.features import fingerprint
from icebox.features.backbones import module
from icebox.features.errors import IceboxError
from icebox.features.nn import blocks
from icebox.features.nn.image_backbone import IMAGENET_MEAN, IMAGENET_STD
from icebox.features.weights import checkpoints

RESNET20 = Path(__file__).parents[2] / "fixtures" / "resnet20"
PICTURES = [np.random.default_rng(i).integers(0, 256, (40, 50, 3), np.uint8) for i in range(3)]


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    (tmp_path / "resnet20.py").write_text((RESNET20 / "resnet20.py").read_text())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def network(classes: int = 10) -> nn.Module:
    sys.path.insert(0, str(RESNET20))
    try:
        import resnet20

        torch.manual_seed(3)
        made: nn.Module = resnet20.ResNet20(classes).eval()
    finally:
        sys.path.remove(str(RESNET20))
    return made


def expected(net: nn.Module, pictures: list[np.ndarray]) -> np.ndarray:
    net.linear = nn.Identity()
    mean, std = (torch.tensor(v)[:, None, None] for v in (IMAGENET_MEAN, IMAGENET_STD))
    batch = torch.stack([(torch.from_numpy(p).permute(2, 0, 1) / 255 - mean) / std for p in pictures])
    with torch.inference_mode():
        values: np.ndarray = net(batch).numpy()
    return values


def encoded(backbone, pictures) -> np.ndarray:
    (values,) = backbone.encode([backbone.prepare(each) for each in pictures]).values()
    return values


def crops() -> list[np.ndarray]:
    return [picture[:32, :32] for picture in PICTURES]


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": {f"module.{k}": v for k, v in s.items()}}])
def test_features_are_those_of_the_network_without_its_classifier(project, wrap):
    net = network(classes=7)
    torch.save(wrap(net.state_dict()), "own.pth")
    module.fetch(project / "b", build="resnet20:ResNet20", weights="own.pth", classifier="linear", size=32)
    backbone = module.load(project / "b", outputs=["last"], device="cpu")
    np.testing.assert_allclose(encoded(backbone, crops()), expected(net, crops()), atol=1e-5)
    assert backbone.spec["code"] == fingerprint.of_settings(
        {"resnet20.py": fingerprint.of_file(project / "resnet20.py")}
    )


def test_an_edit_of_the_code_is_another_fingerprint_once_it_is_fetched_again(project):
    module.fetch(project / "b", build="resnet20:ResNet20", weights="random", size=32)
    before = module.load(project / "b", outputs=["last"], device="cpu").spec
    (project / "resnet20.py").write_text((project / "resnet20.py").read_text() + "\n# edited\n")
    assert module.load(project / "b", outputs=["last"], device="cpu").spec == before
    module.fetch(project / "b", build="resnet20:ResNet20", weights="random", size=32)
    assert module.load(project / "b", outputs=["last"], device="cpu").spec["code"] != before["code"]


def test_grey_networks_sizes_and_maps(project):
    (project / "grey.py").write_text(
        "from torch import nn\ndef make():\n    return nn.Sequential(nn.Conv2d(1, 4, 3))\n"
    )
    module.fetch(project / "b", build="grey:make", weights="random", size=[12, 20], mean=[0.5], std=[0.25])
    backbone = module.load(project / "b", outputs=["last:avg", "0:map"], device="cpu")
    assert tuple(backbone.prepare(PICTURES[0]).shape) == (1, 12, 20)
    assert backbone.encode([backbone.prepare(PICTURES[0])])["last:avg"].shape == (1, 4)
    larger = module.load(project / "b", outputs=["last:avg"], device="cpu", size=30)
    assert tuple(larger.prepare(PICTURES[0]).shape) == (1, 30, 30)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"build": "resnet20:ResNet20", "weights": "nowhere.pth"}, "found no such file nowhere.pth"),
        ({"build": "resnet20:Block", "weights": "random"}, "resnet20:Block failed: TypeError"),
        ({"build": "resnet20:F", "weights": "random"}, "F failed: TypeError"),
        ({"build": "resnet20:ResNet20", "weights": "random", "classifier": "fc"}, "no layer named 'fc'"),
        ({"build": "resnet20:ResNet20", "weights": "random", "mean": [0.5]}, "expected three numbers each"),
        ({"weights": "random"}, "expected `build`"),
        ({"weights": "own.pth"}, "without `build`, expected an archive"),
    ],
)
def test_what_does_not_fit_is_one_line(project, settings, message):
    with pytest.raises(IceboxError, match=message) as caught:
        module.fetch(project / "b", size=32, **settings)
    assert "\n" not in str(caught.value)


def test_weights_of_another_network_are_named(project):
    torch.save(nn.Linear(2, 2).state_dict(), "own.pth")
    with pytest.raises(IceboxError, match=r"does not fit the network of resnet20:ResNet20: missing: conv1.weight"):
        module.fetch(project / "b", build="resnet20:ResNet20", weights="own.pth", size=32)


def archive(path: Path) -> nn.Module:
    net = network()
    net.linear = nn.Identity()
    batch = torch.zeros(2, 3, 32, 32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if path.suffix == ".pt":
            torch.jit.save(torch.jit.trace(net, batch), str(path))
        else:
            dynamic = {0: torch.export.Dim("batch")}
            torch.export.save(torch.export.export(net, (batch,), dynamic_shapes=(dynamic,)), path)
    return net


@pytest.mark.parametrize("suffix", [".pt", ".pt2"])
@pytest.mark.slow
def test_an_archive_is_opened_once_it_is_pinned(project, suffix):
    path = project / f"net{suffix}"
    net = archive(path)
    with pytest.raises(IceboxError, match=r"holds code; if you trust"):
        module.fetch(project / "b", weights=str(path), size=32)
    module.fetch(project / "b", weights=str(path), size=32, sha256=fingerprint.of_file(path))
    backbone = module.load(project / "b", outputs=["last"], device="cpu")
    np.testing.assert_allclose(encoded(backbone, crops()), expected(net, crops()), atol=1e-5)
    if suffix == ".pt":
        with pytest.raises(IceboxError, match="of a TorchScript archive only `last`"):
            module.load(project / "b", outputs=["layer2:avg"], device="cpu")
        backbone.save(project / "c")
        again = module.load(project / "c", outputs=["last"], device="cpu")
        np.testing.assert_array_equal(encoded(again, crops()), encoded(backbone, crops()))


@pytest.mark.real_data
def test_the_cifar_resnet20_runs_on_photos_of_32_pixels_and_has_blocks(tmp_path):
    data = os.environ.get("ICEBOX_REAL_DATA")
    if not data:
        pytest.skip("ICEBOX_REAL_DATA is unset")
    weights = Path(data).parent / "weights" / "resnet20-12fca82f.th"
    with contextlib.chdir(RESNET20):
        module.fetch(tmp_path, build="resnet20:ResNet20", weights=str(weights), classifier="linear", size=32)
    backbone = module.load(tmp_path, outputs=["last"], device="cpu")
    photos = [np.array(Image.open(p).resize((32, 32))) for p in sorted(Path(data, "flowers5").rglob("*.jpg"))[:4]]
    net = network()
    net.load_state_dict(checkpoints.read_tensors(weights))
    np.testing.assert_allclose(encoded(backbone, photos), expected(net, photos), atol=1e-4)
    inputs = backbone.inputs([backbone.prepare(photo) for photo in photos])
    backbone.layer_outputs.make_trainable()
    names = blocks.names(backbone.layer_outputs.network, lambda: backbone.layer_outputs.tensors(inputs).values())
    assert names == ["conv1", "bn1", "layer1", "layer2", "layer3"]

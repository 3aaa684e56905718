"""A network in int8: nearly the features of float32, the same network from the same items, kept in a file."""

import numpy as np
import pytest
import torch
from torch import nn

from icebox.features.abc import quantized_network
from icebox.features.errors import IceboxError
from icebox.features.extraction import quantization, runtime
from icebox.features.manifest.manifest import ManifestRow
from icebox.features.nn.backbone import TorchBackbone
from icebox.features.nn.layer_outputs import Inputs
from icebox.features.ragged import flat

installed = all(map(runtime.is_importable, ("openvino", "nncf")))
pytestmark = [
    pytest.mark.skipif(not installed, reason="needs icebox[int8]"),
    pytest.mark.filterwarnings("ignore"),  # those of importing the libraries
]


class Pictures(TorchBackbone):
    modality = "image"

    def prepare(self, content):
        return torch.from_numpy(content)

    def inputs(self, prepared):
        return Inputs((torch.stack(list(prepared)),))

    def sub_batch_size(self, sample):
        self._sub_batch_size = 4
        return 4


class Texts(TorchBackbone):
    modality = "text"

    def prepare(self, content):
        return [int(word) for word in content.split()]

    def inputs(self, prepared):
        ids = nn.utils.rnn.pad_sequence([torch.tensor(row) for row in prepared], batch_first=True)
        mask = nn.utils.rnn.pad_sequence([torch.ones(len(row), dtype=torch.int64) for row in prepared], True)
        return Inputs(kwargs={"input": ids}, mask=mask)


SPEC = {"spec": {"family": "tiny"}, "settings": {}, "precision": "float32", "device": "cpu"}
RANDOM = np.random.default_rng(0)
CONTENTS = {str(i): RANDOM.random((3, 8, 8), np.float32) for i in range(12)}
TEXTS = {str(i): " ".join(map(str, RANDOM.integers(0, 20, 3 + i % 5))) for i in range(12)}


def pictures() -> TorchBackbone:
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 16, 3), nn.ReLU()
    return Pictures(nn.Sequential(*layers), outputs=["1:avg", "last:avg"], **SPEC)


def texts() -> TorchBackbone:
    torch.manual_seed(0)
    return Texts(nn.Sequential(nn.Embedding(20, 16), nn.Linear(16, 8), nn.Tanh()), outputs=["last:mean"], **SPEC)


def rows(contents, split: str = "train") -> list[ManifestRow]:
    return [
        ManifestRow(item_id=key, item_key=f"{i * 7 % 12:02}", label="", split=split, group="", source=key)
        for i, key in enumerate(contents)
    ]


def calibrate(backbone, contents=CONTENTS, of=None):
    of = rows(contents) if of is None else of
    return quantization.calibrate(backbone, of, contents.__getitem__, "identity", origin="here")


@pytest.mark.parametrize(("make", "contents"), [(pictures, CONTENTS), (texts, TEXTS)])
@pytest.mark.slow
def test_features_are_nearly_those_of_float32_and_the_network_is_kept_as_it_is(make, contents, tmp_path):
    backbone = make()
    items = [backbone.prepare(content) for content in contents.values()]
    exact, spec = backbone.encode(items), dict(backbone.spec)
    network = calibrate(backbone, contents)
    features = backbone.encode(items)
    for output, values in exact.items():
        apart = np.linalg.norm(flat(features[output]) - flat(values)) / np.linalg.norm(flat(values))
        assert 1e-5 < apart < 0.1
    assert 0 < network.record["mean"] <= network.record["largest"] < 0.2
    assert (network.record["calibrated"], network.record["held_out"]) == (8, 4)
    assert backbone.spec == spec | {"precision": "int8", "runtime": "openvino", "quantized": network.digest}
    network.write(tmp_path / "a.npz")
    kept = quantized_network.read(tmp_path / "a.npz")
    assert kept == network
    other = make()
    other.use_quantized(kept)
    assert other.spec == backbone.spec
    for output, values in other.encode(items).items():
        np.testing.assert_array_equal(flat(values), flat(features[output]))
    backbone.use_quantized(None)
    assert backbone.spec == spec
    np.testing.assert_array_equal(flat(backbone.encode(items)[output]), flat(exact[output]))


def test_the_same_items_make_the_same_network_whatever_was_converted_before_and_in_whatever_order(tmp_path):
    first = calibrate(pictures())
    second = calibrate(pictures(), of=rows(CONTENTS)[::-1])
    assert first == second
    for name, network in (("a", first), ("b", second)):
        network.write(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_picture_has_the_same_features_bit_for_bit_whatever_passes_with_it():
    backbone = pictures()
    calibrate(backbone)
    items = [backbone.prepare(content) for content in CONTENTS.values()]
    together, apart = backbone.encode(items), backbone.encode(items[9:])
    for output in backbone.outputs:
        np.testing.assert_array_equal(together[output][9:], apart[output])


def test_only_train_is_read_and_two_items_are_needed():
    of = rows(CONTENTS, "test")
    with pytest.raises(IceboxError, match=r"^precision: int8 .* items or more that can be read, found 0; take auto$"):
        calibrate(pictures(), of=of)
    with pytest.raises(IceboxError, match="found 1"):
        calibrate(pictures(), of=[*of, *rows(CONTENTS)[:1]])


def test_a_tolerance_refuses_what_is_farther_from_float32():
    network = calibrate(pictures())
    quantization.refuse_above(network.record["mean"], network)
    with pytest.raises(IceboxError, match=r"^int8, calibrated on 8 items .* more than int8_tolerance: 1e-09; raise it"):
        quantization.refuse_above(1e-9, network)


def test_the_network_of_other_inputs_is_refused():
    network = calibrate(pictures())
    backbone = texts()
    backbone.use_quantized(network)
    with pytest.raises(IceboxError, match=r"it was calibrated on argument0, and not input, pooling_mask"):
        backbone.encode([[1, 2]])


def test_no_other_runtime_computes_in_int8():
    backbone = pictures()
    calibrate(backbone)
    backbone.use_runtime("openvino")
    with pytest.raises(IceboxError, match="runtime: onnxruntime does not compute in int8"):
        backbone.use_runtime("onnxruntime")


@pytest.mark.parametrize("damage", [lambda whole: whole[:-40], lambda whole: b"", lambda whole: b"PK" + whole[9:]])
def test_a_damaged_file_is_one_line(tmp_path, damage):
    network = quantized_network.QuantizedNetwork(
        b"<net/>", b"0", ("a",), "here", {"calibrated": 1, "sample": "", "held_out": 1, "mean": 0.1, "largest": 0.2}
    )
    path = tmp_path / "quantized.npz"
    network.write(path)
    assert quantized_network.read(path) == network
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(IceboxError, match=r"quantized.npz: the int8 network of a store can't be read \(\w+\); restore"):
        quantized_network.read(path)

"""Every runtime gives what torch gives, of inner layers and poolings too, for any number of items."""

import sys

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from icebox.features.errors import IceboxError
from icebox.features.extraction import runtime
from icebox.features.nn.backbone import OUTSIDE_TORCH, TorchBackbone
from icebox.features.nn.embeddings import Embedding
from icebox.features.nn.layer_outputs import Inputs
from icebox.features.ragged import flat

installed = all(runtime.is_installed(name) for name in OUTSIDE_TORCH)
pytestmark = [
    pytest.mark.skipif(not installed, reason="needs icebox[openvino] and icebox[onnx]"),
    pytest.mark.filterwarnings("ignore"),  # those of importing the libraries
]


class Tokens(nn.Module):
    """Ids (b, t) and a mask (b, t) → states (b, t, 6), each of which depends on all real tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.layer = nn.Embedding(20, 6), nn.Linear(6, 6)

    def forward(self, ids: Tensor, attention_mask: Tensor) -> Tensor:
        words = self.words(ids)
        weights = attention_mask[..., None].float()
        return torch.tanh(self.layer(words + (words * weights).sum(1, keepdim=True) / weights.sum(1, keepdim=True)))


class Steps(nn.Module):
    """Ids (b, t) → (b, 6), by a loop over t, which a recording of one pass unrolls."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.layer = nn.Embedding(20, 6), nn.Linear(6, 6)

    def forward(self, ids: Tensor, attention_mask: Tensor) -> Tensor:
        state = self.words(ids[:, 0])
        for step in range(1, ids.shape[1]):
            state = torch.tanh(self.layer(state) + self.words(ids[:, step]))
        return state


class Summed(Embedding):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 2).requires_grad_(False)

    def forward(self, returned, mask):
        return self.layer((returned * mask[..., None]).sum(1))


class Pictures(TorchBackbone):
    modality = "image"

    def prepare(self, content):
        return torch.from_numpy(content)

    def inputs(self, prepared):
        return Inputs((torch.stack(list(prepared)).contiguous(memory_format=torch.channels_last),))

    def sub_batch_size(self, sample):
        self._sub_batch_size = 4
        return 4


class Texts(TorchBackbone):
    modality = "text"

    def prepare(self, content):
        return list(content)

    def inputs(self, prepared):
        ids = nn.utils.rnn.pad_sequence([torch.tensor(row) for row in prepared], batch_first=True)
        mask = nn.utils.rnn.pad_sequence([torch.ones(len(row), dtype=torch.int64) for row in prepared], True)
        return Inputs(kwargs={"ids": ids, "attention_mask": mask}, mask=mask)


SPEC = {"spec": {"family": "tiny"}, "settings": {}, "precision": "float32", "device": "cpu"}


def pictures(*outputs: str) -> tuple[TorchBackbone, list[Tensor]]:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Conv2d(4, 2, 3), nn.Flatten()
    )
    random = np.random.default_rng(0)
    backbone = Pictures(network, outputs=outputs, **SPEC)
    return backbone, [backbone.prepare(random.random((3, 8, 8), np.float32)) for _ in range(6)]


def texts(*outputs: str) -> tuple[TorchBackbone, list[list[int]]]:
    torch.manual_seed(0)
    return Texts(Tokens(), outputs=outputs, embedding=Summed(), **SPEC), [[3, 4, 5, 6, 7], [9], [1, 2, 3]]


CASES = {
    "pictures, the last layer": lambda: pictures("last"),
    "pictures, layers inside, poolings of one and more": lambda: pictures("1:avg", "2:max", "2:grid-2", "3:map"),
    "texts, the whole and a layer inside": lambda: texts("last:mean", "last:cls", "words:max", "embedding"),
    "texts, each token": lambda: texts("last:tokens", "layer:mean"),
}


@pytest.mark.parametrize(
    ("case", "name"),
    [
        *((case, "openvino") for case in CASES),
        *((case, "onnxruntime") for case in [*CASES][1:3]),
    ],  # which takes seconds
)
@pytest.mark.slow
def test_features_are_those_of_torch(case, name):
    backbone, items = CASES[case]()
    expected, alone, spec = backbone.encode(items), backbone.encode(items[1:2]), dict(backbone.spec)
    backbone.use_runtime(name)
    assert backbone.spec == spec | {"runtime": name}
    for features, reference in ((backbone.encode(items), expected), (backbone.encode(items[1:2]), alone)):
        assert list(features) == list(reference)
        for output, values in reference.items():
            np.testing.assert_allclose(flat(features[output]), flat(values), atol=1e-5)
    backbone.use_runtime("torch")
    assert backbone.spec == spec
    np.testing.assert_array_equal(
        flat(backbone.encode(items)[backbone.outputs[0]]), flat(expected[backbone.outputs[0]])
    )


def test_a_picture_has_the_same_features_bit_for_bit_whatever_passes_with_it():
    backbone, items = pictures("1:avg", "last")
    backbone.use_runtime("openvino")
    together, apart = backbone.encode(items), backbone.encode(items[4:])
    for output in backbone.outputs:
        np.testing.assert_array_equal(together[output][4:], apart[output])


def test_what_a_recording_would_get_wrong_for_other_lengths_is_refused():
    backbone = Texts(Steps(), outputs=["last"], **SPEC)
    backbone.use_runtime("openvino")
    with pytest.raises(
        IceboxError, match=r"^runtime: openvino can't take this network \(.+\); choose another, or auto$"
    ):
        backbone.encode([[3, 4, 5, 6, 7, 8], [1, 2]])


def test_a_precision_that_the_runtime_does_not_compute_in_is_refused():
    torch.manual_seed(0)
    backbone = Pictures(nn.Sequential(nn.Conv2d(3, 2, 3)), outputs=["last:avg"], **SPEC | {"precision": "bfloat16"})
    with pytest.raises(IceboxError, match="float32 on a processor, not in bfloat16"):
        backbone.use_runtime("onnxruntime")


def test_inductor_is_for_pictures_and_compiled_by_extraction():
    backbone, _ = pictures("last")
    backbone.use_runtime("inductor")
    assert backbone.spec["runtime"] == "inductor"

    class NotCompiled(Texts):
        def compile(self, batch_size):
            return False

    with pytest.raises(IceboxError, match="networks of pictures"):
        NotCompiled(Tokens(), outputs=["last"], **SPEC).use_runtime("inductor")


def test_openvino_reports_to_nobody():
    pictures("last")[0].use_runtime("openvino")
    assert sys.modules["openvino_telemetry"] is None

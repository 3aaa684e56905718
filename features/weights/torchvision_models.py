"""torchvision's classification networks: names, published weights, and removal of the classifier."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from icebox.features.compat import torchvision as library
from icebox.features.errors import IceboxError, suggestion
from icebox.features.weights import matching

CLASSES = 1000  # ImageNet's; the layer with as many outputs is the classifier
AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")  # GoogLeNet's and Inception's second classifiers, for training only
WITHOUT_AUXILIARY = {"aux_logits": False, "init_weights": False, "transform_input": True}
PUBLISHED_NAME = re.compile(r"-([0-9a-f]{8})\.pth$")  # torch's convention: resnet50-0676ba61.pth
RENAMED = (  # keys of DenseNet's and ViT's published files → today's names, as torchvision itself maps them
    (re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)"), r"\1\2"),
    (re.compile(r"\.mlp\.linear_1\."), ".mlp.0."),
    (re.compile(r"\.mlp\.linear_2\."), ".mlp.3."),
)


def published_weights(model: str) -> Mapping[str, Any]:
    """{name: member} of torchvision's weights for `model`; raises IceboxError for another network."""
    models = library().models
    names = models.list_models(module=models)
    if model not in names:
        raise IceboxError(f"model: torchvision has no classification network '{model}'; {suggestion(model, names)}")
    members: Mapping[str, Any] = models.get_model_weights(model).__members__
    return members


def member_of_file(path: Path, sha256: str, model: str, published: Mapping[str, Any]) -> tuple[Any, str]:
    """The published weights whose preprocessing a file needs, and by what they were recognised ("" where not).

    By the name of a published file, or by the digits of its hash in it. A file named like torchvision's that is none of
    today's is of the time when there was one version of each.
    """
    for member in published.values():
        name = Path(member.url).name
        digits = PUBLISHED_NAME.search(name)
        if path.name == name:
            return member, "by the file's name"
        if digits and sha256.startswith(digits[1]):
            return member, "by the file's hash"
    first = next(iter(published.values()))
    if path.name.startswith(f"{model}-") and PUBLISHED_NAME.search(path.name):
        return first, "by the file's name, one of torchvision's older ones"
    return published["DEFAULT"], ""


def preprocess_of(member: Any) -> dict[str, Any]:
    """The preprocessing that belongs to the weights, as JSON: sizes in pixels, `resize` that of the shorter side."""
    steps = member.transforms()
    return {
        "resize": list(steps.resize_size),
        "crop": list(steps.crop_size),
        "interpolation": steps.interpolation.value,
        "mean": list(steps.mean),
        "std": list(steps.std),
    }


INITIALIZERS = (
    {torch.Tensor.normal_, torch.Tensor.uniform_}
    | {function for name, function in vars(nn.init).items() if name.endswith("_") and callable(function)}
)  # fmt: skip


class EmptyOnMeta(TorchFunctionMode):
    """Within it parameters take no memory. `torch.device("meta")` would also catch RegNet's width arithmetic."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Put the result of `torch.empty`, with which every layer makes its parameters, on the meta device.

        Nothing is drawn there, for which torch would load its compiler, a second or two.
        """
        kwargs = kwargs or {}
        if func in INITIALIZERS:
            tensor = args[0] if args else kwargs["tensor"]
            if tensor.is_meta:
                return tensor
        return func(*args, **kwargs | ({"device": "meta"} if func is torch.empty else {}))


def build_empty(model: str, preprocess: Mapping[str, Any]) -> nn.Module:
    """The network without parameter values, to be filled by `load_state_dict(…, assign=True)`."""
    with EmptyOnMeta():
        return build(model, preprocess)


def build_random(model: str, preprocess: Mapping[str, Any], seed: int) -> nn.Module:
    """The network with torchvision's random initialization; the caller's random generator is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(model, preprocess)


def build(model: str, preprocess: Mapping[str, Any]) -> nn.Module:
    """The network that torchvision builds for weights with this preprocessing."""
    options: dict[str, Any] = {}
    if model in ("googlenet", "inception_v3"):
        options = WITHOUT_AUXILIARY
    elif model.startswith("vit_"):
        options = {"image_size": preprocess["crop"][0]}  # the position embedding has one row a patch
    network: nn.Module = library().models.get_model(model, weights=None, **options)
    return network


def remove_classifier(network: nn.Module) -> str:
    """Replace the classifier by `nn.Identity`; later layers (SqueezeNet's ReLU and pool) stay. Returns its name.

    The classifier is the last linear or convolution layer with as many outputs as there are classes.
    """
    classifiers: list[str] = [
        name
        for name, layer in network.named_modules()
        if (isinstance(layer, nn.Linear) and layer.out_features == CLASSES)
        or (isinstance(layer, nn.Conv2d) and layer.out_channels == CLASSES)
    ]
    if not classifiers:
        raise IceboxError(f"{type(network).__name__}: no layer with {CLASSES} outputs to take off as the classifier")
    network.set_submodule(classifiers[-1], nn.Identity(), strict=True)
    return classifiers[-1]


def fitted(
    tensors: Mapping[str, Tensor], classifier: str, expected: Mapping[str, Tensor], name: str, where: str
) -> dict[str, Tensor]:
    """A checkpoint's tensors under today's names and without a prefix, the classifier's left out.

    That may have any number of classes and any layers, in the place of the network's own. `expected` are the tensors
    that the network has without it, `name` is the file's. Raises IceboxError, which begins with `where`, for others.
    """
    renamed = {rename_key(key): value for key, value in tensors.items()}
    place = f"{classifier.split('.')[0]}."  # `classifier.` of `classifier.1`
    return matching.fit(renamed, expected, name, where, without=(*AUXILIARY, place))


def rename_key(key: str) -> str:
    """`…denselayer1.norm.1.weight` → `…denselayer1.norm1.weight`."""
    for pattern, name in RENAMED:
        key = pattern.sub(name, key)
    return key

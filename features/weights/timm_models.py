"""timm's networks: what is known of each (`pretrained_cfg`), and their parameters from checkpoints of any form.

A description is {"architecture", "arguments" (of timm.create_model), "pretrained_cfg"}, as JSON.
"""

import importlib.util
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from icebox.features.compat import allow_mismatched_torchvision
from icebox.features.errors import IceboxError, suggestion
from icebox.features.images.framing import CENTER, CROP_MODES
from icebox.features.json_files import one_line, read_json
from icebox.features.weights import checkpoints, matching

CONFIG_FILE = "config.json"
# Of a network's pretrained_cfg, what building it and preparing its pictures depends on.
BUILD_KEYS = ("classifier", "first_conv", "fixed_input_size", "input_size", "pool_size")
PICTURE_KEYS = ("crop_mode", "crop_pct", "interpolation", "mean", "std")
OWN_ARGUMENTS = {  # arguments of create_model that Icebox decides
    "cache_dir", "checkpoint_path", "features_only", "model_name", "num_classes", "pretrained", "pretrained_cfg",
    "pretrained_cfg_overlay", "pretrained_model_args", "pretrained_strict",
}  # fmt: skip
INTERPOLATIONS = ("bilinear", "bicubic")
FAILURES = (RuntimeError, TypeError, ValueError, AssertionError, AttributeError, KeyError, IndexError)
Description = Mapping[str, Any]
logger = logging.getLogger("icebox")


def library() -> Any:
    """timm itself, importable also beside a torch and a torchvision of different builds.

    Raises IceboxError where it is not installed.
    """
    if importlib.util.find_spec("timm") is None:
        raise IceboxError("family timm: needs timm, which is not installed; pip install 'icebox[timm]'")
    allow_mismatched_torchvision()
    import timm

    return timm


def described(model: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The description of one of timm.list_models(), with or without a tag (`resnet50.a1_in1k`).

    Raises IceboxError for a name or a tag that timm does not know, and for arguments that are not the user's.
    """
    timm = library()
    architecture, _ = timm.models.split_model_name_tag(model)
    if not timm.is_model(architecture):
        raise IceboxError(
            f"model: timm has no network '{architecture}'; {suggestion(architecture, timm.list_models())}"
        )
    try:
        pretrained = timm.get_pretrained_cfg(model)
    except RuntimeError as error:
        tags = timm.list_pretrained(f"{architecture}.*")
        raise IceboxError(f"model: timm knows no weights '{model}'; {suggestion(model, tags)}") from error
    return description(architecture, arguments, {} if pretrained is None else pretrained.to_dict())


def read_description(folder: Path, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The description in the config.json of a folder that timm saved, or of its hub; `arguments` go before its own.

    Raises IceboxError for a file that is damaged, or another library's.
    """
    config = read_json(folder / CONFIG_FILE, dict)
    architecture, own = config.get("architecture"), config.get("model_args") or {}
    pretrained = config.get("pretrained_cfg", config)  # all in one, in files of timm before 0.9
    if not isinstance(architecture, str) or not isinstance(pretrained, dict) or not isinstance(own, dict):
        raise IceboxError(
            f"{folder / CONFIG_FILE}: expected `architecture`, as timm writes it, found "
            f"{checkpoints.first_names(config)}; networks of transformers are read by family: transformers_vision"
        )
    timm = library()
    if not timm.is_model(architecture):
        raise IceboxError(
            f"{folder / CONFIG_FILE}: timm {timm.__version__} has no network '{architecture}'; "
            f"{suggestion(architecture, timm.list_models())}"
        )
    saved = {key: value for key, value in own.items() if key not in OWN_ARGUMENTS}
    return description(architecture, {**saved, **arguments}, pretrained)


def description(architecture: str, arguments: Mapping[str, Any], pretrained: Mapping[str, Any]) -> dict[str, Any]:
    """The description of a network, with all that it depends on filled in; the input's size is that of the arguments.

    Raises IceboxError for arguments that Icebox decides, and for pictures that it can't prepare.
    """
    if own := sorted(OWN_ARGUMENTS & arguments.keys()):
        raise IceboxError(f"arguments: {', '.join(own)} can't be set; Icebox decides that")
    data = library().data.resolve_data_config({}, pretrained_cfg={"input_size": (3, 224, 224), **pretrained})
    channels, *sides = data["input_size"]
    size = arguments.get("img_size", sides)
    config: dict[str, Any] = {key: pretrained.get(key) for key in BUILD_KEYS} | {key: data[key] for key in PICTURE_KEYS}
    config["input_size"] = [arguments.get("in_chans", channels), *([size, size] if isinstance(size, int) else size)]
    config["fixed_input_size"] = bool(config["fixed_input_size"])
    for key, expected in (("interpolation", INTERPOLATIONS), ("crop_mode", CROP_MODES)):
        if config[key] not in expected:
            raise IceboxError(f"{architecture}: {key}: expected {' or '.join(expected)}, found {config[key]!r}")
    if config["input_size"][0] not in (1, 3):
        raise IceboxError(f"{architecture}: expected pictures of 1 or 3 channels, found {config['input_size'][0]}")
    return {"architecture": architecture, "arguments": plain(arguments), "pretrained_cfg": plain(config)}


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as they come back from JSON: lists for tuples."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in sorted(values.items())}


def preprocess_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The preparation of pictures that belongs to a pretrained_cfg, as JSON, as timm's own transforms do it.

    `resize` is [shorter side], or [height, width] with `crop_mode`: `squash` stretches to them, `center` covers them,
    `border` lies within them, and the mean colour around.
    """
    channels, height, width = config["input_size"]
    resize = [math.floor(side / config["crop_pct"]) for side in (height, width)]
    steps = {
        "crop": [height, width],
        "interpolation": config["interpolation"],
        "mean": (list(config["mean"]) * channels)[:channels],
        "std": (list(config["std"]) * channels)[:channels],
    }
    if config["crop_mode"] == CENTER and height == width:
        return {"resize": resize[:1], **steps}
    return {"resize": resize, "crop_mode": config["crop_mode"], **steps}


def build(
    config: Description,
    *,
    size: Sequence[int] | None = None,
    tensors: Mapping[str, Tensor] | None = None,
    classes: int = 0,
) -> nn.Module:
    """The network, by default without its classifier, in eval mode, with random parameters.

    With `tensors` it has those, as timm itself loads a checkpoint for it: under names of other libraries too, and with
    its table of positions resized. `size` (height, width) is that of its input, where that is fixed. Raises
    IceboxError for arguments that timm refuses, and what torch raises for tensors that don't fit.
    """
    timm, arguments = library(), dict(config["arguments"])
    cfg = config["pretrained_cfg"] | {"num_classes": classes, "label_offset": 0}
    cfg = {key: tuple(value) if isinstance(value, list) else value for key, value in cfg.items()}
    if takes_size(config):
        arguments["img_size"] = tuple(size or cfg["input_size"][1:])
    more = {} if tensors is None else {"pretrained": True}
    if tensors is not None:
        cfg["state_dict"] = dict(tensors)
    try:
        network: nn.Module = timm.create_model(
            config["architecture"], pretrained_cfg=cfg, num_classes=classes, **more, **arguments
        )
    except FAILURES as error:
        if tensors is not None or size is not None:
            raise
        raise IceboxError(
            f"timm can't make a network of {config['architecture']}{f' with {arguments}' if arguments else ''}: "
            f"{type(error).__name__}: {one_line(error)}"
        ) from error
    network.pretrained_cfg = network.default_cfg = {}  # type: ignore[assignment]  # it holds the tensors once more
    return network.eval()


def takes_size(config: Description) -> bool:
    """Whether the size of the input is a part of the network, as in transformers with a table of positions."""
    return config["pretrained_cfg"]["fixed_input_size"] and not config["arguments"].get("dynamic_img_size")


def draw(config: Description, seed: int, **options: Any) -> nn.Module:
    """The network with parameters drawn from `seed`; the caller's random generator is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(config, **options)


def converted(config: Description, stored: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The parameters of the network without its classifier, from the tensors of a checkpoint, which may be under a
    prefix, have a classifier of any size or none, and the names of the network's authors, which timm translates.

    `name` is the file's. Raises IceboxError where they don't fit.
    """
    expected = draw(config, 0).state_dict()
    own = matching.take(stored, expected, name, without=classifier_places(config))
    for classes, tensors in candidates(config, stored, own, expected):
        try:
            loaded, again = (draw(config, seed, classes=classes, tensors=tensors).state_dict() for seed in (0, 1))
        except FAILURES:
            continue
        if all(torch.equal(loaded[key], again[key]) for key in expected):  # else the checkpoint lacks some, unmissed
            if tensors is own:
                matching.tell(name, stored, own)
            else:
                logger.info(
                    "%s: taken as timm translates it: %d of its names, %d of the network's own",
                    name,
                    len(tensors),
                    len(expected),
                )
            return {key: loaded[key].contiguous() for key in expected}
    where = f"weights: {name} does not fit timm's {config['architecture']}"
    return matching.match_to_network(own, expected, where)


def classifier_places(config: Description) -> tuple[str, ...]:
    """Beginnings of the names of the classifier's parameters, whatever layers it has."""
    names = config["pretrained_cfg"]["classifier"] or ()
    return tuple(f"{place}." for place in ([names] if isinstance(names, str) else names))


def candidates(
    config: Description, stored: Mapping[str, Tensor], own: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> Iterator[tuple[int, Mapping[str, Tensor]]]:
    """Numbers of classes and tensors with which timm may be able to load the network, the likeliest first."""
    if own.keys() >= {key for key in expected if not key.endswith(matching.COUNTER)}:
        yield 0, own
        return
    places = classifier_places(config)
    yield 0, {key: value for key, value in stored.items() if key in expected or not key.startswith(places)}
    rows = dict.fromkeys(len(value) for key, value in stored.items() if key.endswith("weight") and value.ndim == 2)
    yield from ((count, stored) for count in [*rows][-2:])

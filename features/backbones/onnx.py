"""onnx: a network in an ONNX file, exported from any library, run by ONNX Runtime; of pictures or of texts.

Letters: b batch, c channels, h height, w width, t tokens, d features.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from annotated_types import Ge, MinLen
from torch import Tensor

from icebox.features import fingerprint
from icebox.features.abc.backbone import Backbone, read_settings, write_settings
from icebox.features.abc.dataset import Content, Modality, Pair
from icebox.features.errors import IceboxError, ItemError
from icebox.features.images.input_size import Size, scale_preprocess
from icebox.features.json_files import one_line
from icebox.features.nn.image_backbone import FAST, Pictures, check_decode, preprocess_of
from icebox.features.nn.layer_outputs import LAST, token_vectors
from icebox.features.nn.normalization import normalize_images
from icebox.features.nn.output_names import holds_map
from icebox.features.nn.pooling import EACH_TOKEN, pool
from icebox.features.ragged import ScatteredRows, Values
from icebox.features.text.batching import token_budget_batches
from icebox.features.weights import onnx_files, onnx_inputs
from icebox.features.weights.onnx_files import FLOATS, INTEGERS, Input
from icebox.features.weights.onnx_inputs import MASK, TokenizedText

VERSION = 1
DEFAULT_OUTPUTS: tuple[str, ...] = ()  # the graph's first output, pooled as its axes ask for
BATCH = 8  # pictures at once: more leave the processor's cache
BATCH_TOKENS = 2048
Side = Annotated[int, Ge(1)]
Arrays = dict[str, np.ndarray]
Frame = tuple[int, int]
Pass = tuple[Arrays, Tensor | None, Frame | None]


def fetch(
    folder: Path,
    *,
    weights: str,
    sha256: str | None = None,
    size: Side | list[Side] | None = None,
    resize: Side | None = None,
    mean: Annotated[list[float], MinLen(1)] | None = None,
    std: Annotated[list[float], MinLen(1)] | None = None,
    interpolation: Literal["bilinear", "bicubic"] = "bilinear",
    tokenizer: Path | None = None,
    max_tokens: Annotated[int, Ge(3)] | None = None,
) -> None:
    """Keep the network, and how pictures or texts are prepared for it.

    `weights` is an .onnx file; data that it holds in files of their own lie in its folder. `sha256` may pin it.
    A network of pictures takes one input (batch, channels, height, width) of 32- or 16-bit floats. `size` in pixels, of
    a square or [height, width], by default that of the file where it says one: the shorter side of a picture is resized
    to `resize` (by default the shorter side of `size`) by `interpolation`, and the centre is cut out. 0..1 minus
    `mean`, divided by `std`: a number a channel, by default ImageNet's; one number each where the network takes grey
    pictures.
    A network of texts takes token ids: `tokenizer` is the tokenizer.json that makes them, and `max_tokens` cuts texts,
    by default where the file or the tokenizer does.
    Raises IceboxError for a file that is not there, is damaged, or takes something else.
    """
    onnx_files.keep(Path(weights), folder, sha256)
    inputs = onnx_files.inputs_of(onnx_files.session(folder, []))
    if tokenizer is None:
        if max_tokens is not None:
            raise IceboxError("max_tokens: is for networks of texts; name their `tokenizer`, or leave it out")
        only = onnx_inputs.picture_input(inputs)
        preprocess = preprocess_of(onnx_inputs.picture_size(only, size), resize, mean, std, interpolation)
        onnx_inputs.refuse_channels(only, len(preprocess["mean"]))
        write_settings(folder, {"preprocess": preprocess})
    else:
        for name, value in (("size", size), ("resize", resize), ("mean", mean), ("std", std)):
            if value is not None:
                raise IceboxError(
                    f"{name}: is for networks of pictures, and `tokenizer` for those of texts; take one out"
                )
        length = onnx_inputs.text_length(inputs)
        own = onnx_inputs.keep_tokenizer(Path(tokenizer), folder).truncation
        if length and max_tokens not in (None, length):
            raise IceboxError(f"max_tokens: the network takes {length} tokens, no more and no fewer; leave it out")
        if (limit := length or max_tokens or (own and own["max_length"])) is None:
            raise IceboxError("max_tokens: neither the file nor the tokenizer says where texts are cut; set it")
        write_settings(folder, {"max_tokens": limit})


def load(
    folder: Path,
    *,
    outputs: Sequence[str],
    device: str,
    precision: str = "float32",
    decode: str = FAST,
    size: Size | None = None,
) -> "OnnxBackbone":
    """The network that `fetch` left in `folder`. Outputs are values of its graph, by their names, with poolings.

    Images are resized to `size`, by default its own. The file says in which precision it computes: `precision` makes no
    difference. Raises IceboxError for outputs that it has not, and for a size that it does not take.
    """
    check_decode(decode)
    settings = read_settings(folder)
    spec: dict[str, Any] = {"family": "onnx", "version": VERSION, "weights": onnx_files.sha256_of(folder)}
    if "preprocess" not in settings:
        if size is not None:
            raise IceboxError("size: is for networks of pictures; leave it out")
        return OnnxTexts(folder, spec | {"max_tokens": settings["max_tokens"]}, outputs, device)
    preprocess = scale_preprocess(settings["preprocess"], size, whole=holds_map(outputs))
    pictures = OnnxPictures(folder, spec | {"preprocess": preprocess | {"decode": decode}}, outputs, device)
    onnx_inputs.picture_size(pictures.input, preprocess["crop"])
    return pictures


class OnnxBackbone(Backbone):
    """A session of ONNX Runtime; each value of the graph that is asked for is pooled as a torch layer's output is.

    `spec` takes family, version and all else that determines a feature; outputs and precision are added here.
    """

    default_pooling: ClassVar[str]  # of tokens

    def __init__(self, folder: Path, spec: dict[str, Any], outputs: Sequence[str], device: str) -> None:
        self.folder, self.device = folder, device
        self.model = onnx_files.read(folder / onnx_files.FILE)
        requested = {output: onnx_files.split_output(output, self.model) for output in outputs or [LAST]}
        self.session = onnx_files.session(folder, [value for value, _ in requested.values()], device=device)
        self.inputs = onnx_files.inputs_of(self.session)
        self.values = list(dict.fromkeys(value for value, _ in requested.values()))
        self._spec = spec
        if not outputs:
            (array,) = self.run(self.session, self.values, [self.sample()])[0].values()
            pooling = {3: self.default_pooling, 4: "avg"}.get(self.rows(LAST, array, 1).ndim, "")
            requested = {f"{LAST}:{pooling}" if pooling else LAST: (self.values[0], pooling)}
        self.requested, self.outputs = requested, tuple(requested)
        self._spec = spec | {"outputs": list(self.outputs), "precision": "float32"}
        self.encode([self.sample()])  # raises for a pooling that does not fit

    @property
    def spec(self) -> dict[str, Any]:
        """All that determines a feature, as JSON."""
        return self._spec

    def sample(self) -> Any:
        """A prepared item."""
        raise NotImplementedError

    def feed(self, prepared: Sequence[Any]) -> Pass:
        """The graph's inputs for b prepared items, the mask (b, t) of tokens, and height and width of pictures."""
        raise NotImplementedError

    def sub_batches(self, prepared: Sequence[Any]) -> Iterator[Sequence[int]]:
        """Positions of the items of each pass."""
        raise NotImplementedError

    @property
    def fixed_batch(self) -> int | None:
        """The number of items that the graph takes at once, where it takes no other."""
        return next((each.shape[0] for each in self.inputs if each.shape[0]), None)

    def encode(self, prepared: Sequence[Any]) -> dict[str, Values]:
        """b prepared items → {output: float32 (b, …)}; with pooling `tokens` b arrays (t, d)."""
        features = ScatteredRows(len(prepared))
        for positions in self.sub_batches(prepared):
            arrays, mask, frame = self.run(self.session, self.values, [prepared[i] for i in positions])
            mask = mask if mask is None else mask[: len(positions)]
            pooled: dict[str, Values] = {}
            for output, (value, pooling) in self.requested.items():
                array = self.rows(value, arrays[value], len(positions))
                tensor = torch.from_numpy(np.ascontiguousarray(array, np.float32))
                if pooling == EACH_TOKEN and tensor.ndim == 3:
                    pooled[output] = token_vectors(tensor, mask)
                else:
                    pooled[output] = pool(tensor, pooling, mask, frame).numpy()
            features.put(positions, pooled)
        return features.features()

    def run(self, session: Any, values: Sequence[str], items: Sequence[Any]) -> Pass:
        """The values of a graph for b items, which fit into one pass, as it gives them; and mask and frame of `feed`.

        Raises IceboxError where it can't take them.
        """
        fed, mask, frame = self.feed([*items, *[items[-1]] * ((self.fixed_batch or 0) - len(items))])
        try:
            arrays = session.run(list(values), fed)
        except Exception as reason:  # its own kinds, for shapes that don't fit
            shapes = ", ".join(f"{name} {array.shape}" for name, array in fed.items())
            raise IceboxError(f"the network can't take {shapes}: {one_line(reason)}") from reason
        return dict(zip(values, arrays, strict=True)), mask, frame

    def rows(self, value: str, array: Any, items: int) -> np.ndarray:
        """The rows (b, …) of items among those of a pass. Raises IceboxError for a value that has no row an item."""
        count = max(self.fixed_batch or 0, items)
        if not isinstance(array, np.ndarray) or array.shape[:1] != (count,):
            found = array.shape if isinstance(array, np.ndarray) else type(array).__name__
            raise IceboxError(f"outputs: '{value}': expected a row an item, ({count}, …), found {found}")
        return array[:items]

    def layer_shapes(self, items: Sequence[Any]) -> dict[str, tuple[int, ...]]:
        """The shape of each value (b, …) of floats that the graph computes for b items, in its order, outputs last."""
        own = onnx_files.outputs_of(self.model)
        values = [name for name in onnx_files.names_inside(self.model) if name not in own] + own
        session = onnx_files.session(self.folder, values, device=self.device)
        arrays, _, _ = self.run(session, values, items)
        shapes = {}
        for name, array in arrays.items():
            if isinstance(array, np.ndarray) and array.dtype.kind == "f":
                with suppress(IceboxError):  # a value of all items together
                    shapes[name] = self.rows(name, array, len(items)).shape
        return shapes


class OnnxPictures(OnnxBackbone, Pictures):
    """A network that takes RGB or grey pictures."""

    default_pooling = "avg"

    @property
    def input(self) -> Input:
        """The only input."""
        return self.inputs[0]

    def sample(self) -> Tensor:
        """A grey picture."""
        return self.prepare(np.full((64, 64, 3), 127, np.uint8))

    def sub_batches(self, prepared: Sequence[Tensor]) -> Iterator[Sequence[int]]:
        """Batches of as many pictures as the graph takes, or of a few."""
        size = self.fixed_batch or BATCH
        yield from (range(start, min(start + size, len(prepared))) for start in range(0, len(prepared), size))

    def feed(self, prepared: Sequence[Tensor]) -> Pass:
        """b images, uint8 (c, h, w) each → (b, c, h, w), normalized."""
        mean, std = (self.spec["preprocess"][name] for name in ("mean", "std"))
        batch = normalize_images(prepared, mean=mean, std=std, dtype=torch.float32, device="cpu")
        array = np.ascontiguousarray(batch.numpy(), FLOATS[self.input.kind])
        return {self.input.name: array}, None, (array.shape[2], array.shape[3])


class OnnxTexts(OnnxBackbone):
    """A network over the tokens of a text, or of a pair in one input; padding is masked."""

    modality: ClassVar[Modality] = "text"
    takes_pairs: ClassVar[bool] = True
    default_pooling = "mean"

    def __init__(self, folder: Path, spec: dict[str, Any], outputs: Sequence[str], device: str) -> None:
        self.tokenizer = onnx_inputs.read_tokenizer(folder)
        padding = (self.tokenizer.padding or {}).get("pad_id")
        names = [number for name in ("[PAD]", "<pad>") if (number := self.tokenizer.token_to_id(name)) is not None]
        self.padding_id = next((number for number in [padding, *names] if number is not None), 0)
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(spec["max_tokens"])
        spec = spec | {"tokenizer": fingerprint.of_file(folder / onnx_inputs.TOKENIZER)}
        super().__init__(folder, spec, outputs, device)

    def sample(self) -> TokenizedText:
        """A text of a word."""
        return self.prepare("word")

    def prepare(self, content: Content) -> TokenizedText:
        """Text or pair → token ids, at most `max_tokens`, at least one."""
        texts = (content.first, content.second) if isinstance(content, Pair) else (content,)
        for text in texts:
            if not isinstance(text, str):
                raise ItemError(f"onnx: expected a text or a pair, found {type(text).__name__}")
        try:
            tokens = self.tokenizer.encode(*texts)
        except UnicodeEncodeError as error:  # a lone surrogate
            raise ItemError(f"onnx: not Unicode text: {error}") from error
        return TokenizedText(tokens.ids or [self.padding_id], tokens.type_ids or [0], bool(tokens.overflowing))

    def was_cut(self, prepared: TokenizedText) -> bool:
        """Whether the text was longer than `max_tokens`."""
        return prepared.cut

    def sub_batches(self, prepared: Sequence[TokenizedText]) -> Iterator[Sequence[int]]:
        """Texts of similar length, as many as the graph takes where it says so."""
        if size := self.fixed_batch:
            yield from (range(start, min(start + size, len(prepared))) for start in range(0, len(prepared), size))
        else:
            yield from token_budget_batches([len(tokens.ids) for tokens in prepared], BATCH_TOKENS)

    def feed(self, prepared: Sequence[TokenizedText]) -> Pass:
        """Tokens of b texts → (b, t), padded, with a mask of the padding."""
        columns = onnx_inputs.token_arrays(prepared, self.inputs, padding_id=self.padding_id)
        fed = {each.name: columns[each.name].astype(INTEGERS[each.kind]) for each in self.inputs}
        return fed, torch.from_numpy(columns[MASK]), None

"""Any text network of `transformers`, from files only: encoders (MiniLM, BERT, MPNet, T5, ModernBERT), language models
(GPT-2, Llama, Qwen), networks of sentence-transformers, the text towers of CLIP and SigLIP, …

Letters: b batch, t tokens, d features.
"""

import functools
import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from safetensors.torch import save_file

from icebox.features import fingerprint
from icebox.features.abc.backbone import TextTower, read_settings, write_settings
from icebox.features.errors import IceboxError, located
from icebox.features.json_files import read_json
from icebox.features.nn.embeddings import EMBEDDING, Embedding, Projection
from icebox.features.nn.text_backbone import TextBackbone
from icebox.features.nn.transfer import plain_state
from icebox.features.weights import sentence_transformers, sources, towers, transformers_checkpoints
from icebox.features.weights.transformers_checkpoints import unshared, write_weights
from icebox.features.weights.transformers_models import (
    CONFIG_FILE,
    TOKENIZER_FILES,
    VOCABULARIES,
    is_causal,
    load_network,
    load_tokenizer,
    max_input_tokens,
    refuse_untrained,
)

VERSION = 1
DEFAULT_OUTPUTS: tuple[str, ...] = ()  # the network's own: `default_outputs`
ENCODER_OUTPUT, CAUSAL_OUTPUT = "last:mean", "last:final"  # of a causal network, the last token has seen all of a text
RANDOM = "random"
TOKENIZER_OF = "tokenizer_of"  # the setting that names the whole network of a tower, which its tokenizer is made for
PADDED_FULLY = {"siglip_text_model", "siglip2_text_model"}  # trained on texts of one length, whose last token counts
logger = logging.getLogger("icebox")


def fetch(
    folder: Path,
    *,
    weights: str | None = None,
    name: str | None = None,
    sha256: str | None = None,
    revision: str = "main",
    max_tokens: int | None = None,
    max_memory: dict[str, str] | None = None,
    config: Path | None = None,
    network: dict[str, str | int | float | bool] | None = None,
    tokenizer: str | None = None,
    seed: int = 0,
) -> None:
    """Fill `folder` with weights, config and tokenizer; the only place where the network may be used.

    `weights` is `package:NAME` (an installed package), `hub:OWNER/NAME` (at `revision`) or a folder; or else `name` is
    that of from_pretrained (`bert-base-uncased`). `sha256` pins the weights file; of weights in shards it is that of
    all of them. Texts are cut after `max_tokens`; None: the maximum of the network, or of its sentence-transformers
    settings. `max_memory`, such as `{'0': 20GiB, cpu: 60GiB}`, spreads a network that is too large for one GPU over
    several and the processor, by accelerate; it changes no feature.
    With `weights: random` they are drawn from `seed` for the config.json in the folder `config`, or for `network`, the
    settings in such a file (`model_type`, and numbers of layers and features); `tokenizer` (a folder, `package:NAME` or
    `hub:OWNER/NAME`) is where the tokenizer comes from, by default that folder. Where `weights` is a file that a
    training script wrote (`.ckpt`, `.pth`, …), config.json and tokenizer are those in `config`.
    """
    weights = sources.weights_of(weights, name)
    if weights == RANDOM:
        copied = transformers_checkpoints.draw(
            folder, config=config, network=network, tokenizer=tokenizer, seed=seed, revision=revision
        )
    elif Path(weights).is_file() and config is not None and (network, tokenizer) == (None, None):
        files = (CONFIG_FILE, *TOKENIZER_FILES)
        copied = transformers_checkpoints.copy_file(Path(weights), Path(config), folder, files=files, sha256=sha256)
    elif (config, network, tokenizer) != (None, None, None):
        raise IceboxError(
            "`config`, `network` and `tokenizer` are for `weights: random`, `config` for a file too; leave them out"
        )
    else:
        copied = copy(folder, weights, sha256=sha256, revision=revision)
    placed = {} if max_memory is None else {"max_memory": max_memory}
    write_settings(folder, {"family": "transformers", "max_tokens": max_tokens, **placed, **copied})


def copy(folder: Path, weights: str, *, sha256: str | None, revision: str) -> dict[str, Any]:
    """Copy a pretrained network → the settings that tell what was copied."""
    files = (CONFIG_FILE, *TOKENIZER_FILES)
    found = sources.locate(weights, files=(*files, *sentence_transformers.FILES), revision=revision)
    source = sentence_transformers.network_folder(found)
    for needed in ([CONFIG_FILE], VOCABULARIES):
        if not any((source / file).is_file() for file in needed):
            raise IceboxError(f"weights '{weights}': found no {' or '.join(needed)} in {source}")
    copied: dict[str, Any] = {}
    with located(f"weights '{weights}'"):
        if sentence := sentence_transformers.read(found):
            copied["sentence"], layers = sentence
    taken = sources.copy_into(source, folder, files=files, sha256=sha256, called=weights)
    copied |= transformers_checkpoints.rename_in(folder, taken, weights)
    if sentence and layers:
        save_file(unshared(layers), folder / sentence_transformers.LAYERS_FILE)
    return copied


def load(
    folder: Path,
    *,
    outputs: Sequence[str],
    device: str,
    precision: str = "float32",
    prompt: str | None = None,
) -> "TransformersTextBackbone":
    """The network in `folder`, with outputs such as `last:mean`, `last:cls`, `encoder.layer.3:max`; none: its own.

    `embedding` is the text's one vector as a network's makers have it: of a folder of sentence-transformers by its
    modules, of CLIP's and SigLIP's text towers by their projection. `prompt` stands before each text: a name of the
    prompts that the folder holds, or a text; "" is none. None: none, but for `embedding` the folder's default.
    """
    settings = read_settings(folder, weights_file=str)
    tokenizer = load_tokenizer(folder, settings.get(TOKENIZER_OF))
    saved = settings.get("tower")
    network, missing = load_network(
        folder, also="tokenizer", precision=precision, max_memory=settings.get("max_memory"), tower=saved
    )
    parts = dict(network.named_children())
    embedding: Embedding | None = None
    sentence = settings.get("sentence")
    half = {"encoder", "decoder"} <= parts.keys()  # T5 and BART: features come from the encoder
    if half:
        network = parts["encoder"]
    else:
        tower = towers.take(network, missing, "text", outputs=outputs, folder=folder, saved=bool(saved))
        network, missing, embedding = tower.network, tower.missing, tower.embedding
    if sentence:
        embedding = sentence_transformers.embedding(folder, sentence, wanted=EMBEDDING in outputs or not outputs)
    refuse_untrained(missing, outputs, folder)
    network.config.use_cache = False  # GPT-2 would store keys and values for the next token
    if not outputs:
        outputs = default_outputs(network, sentence, half=half)
        tell_once(f"{folder.name}: {adopted(outputs, sentence)}")
    if settings.get("max_memory") is None:
        network = network.to(device)
    else:
        device = str(next(network.parameters()).device)
    return TransformersTextBackbone(
        folder,
        tokenizer,
        network,
        outputs,
        precision=precision,
        device=device,
        half=half,
        embedding=None if embedding is None else embedding.to(device),
        sentence=sentence,
        prompt=prompt,
    )


def text_tower(folder: Path, *, device: str) -> TextTower:
    """The network itself, whose embedding lies in one space with that of other texts, and of CLIP's kind of images."""
    encoder = load(folder, outputs=[EMBEDDING], device=device)
    embedding = encoder.layer_outputs.embedding
    if not isinstance(embedding, Projection):
        return TextTower(encoder)
    return TextTower(encoder, embedding.logit_scale, embedding.logit_bias)


@functools.cache
def tell_once(line: str) -> None:
    """Log a line, the first time in this process: a trial of precisions loads a network twice."""
    logger.info(line)


def makers_outputs(folder: Path) -> tuple[str, ...]:
    """The outputs that the makers of the network in `folder` would give a text, where its files say which."""
    sentence = read_settings(folder).get("sentence")
    return (EMBEDDING,) if sentence and "unknown" not in sentence else ()


def default_outputs(network: Any, sentence: Mapping[str, Any] | None, *, half: bool) -> tuple[str, ...]:
    """The outputs of a network where none are asked for: what its sentence-transformers settings say, else the last
    token of a causal network, or the mean of the tokens.

    The mean with or without normalization has one direction: it stays `last:mean`.
    """
    if sentence and not sentence_transformers.is_plain_mean(sentence):
        return (EMBEDDING,)
    causal = not sentence and not half and is_causal(network.config)
    return (CAUSAL_OUTPUT if causal else ENCODER_OUTPUT,)


def adopted(outputs: Sequence[str], sentence: Mapping[str, Any] | None) -> str:
    """The outputs that were taken where none are asked for, and why."""
    taken = ", ".join(outputs)
    if not sentence:
        return f"{taken}, since this is a causal network" if CAUSAL_OUTPUT in outputs else taken
    if EMBEDDING in outputs:
        return f"{taken}: {sentence_transformers.in_words(sentence)}, as its modules.json says"
    exact = sentence_transformers.in_words(sentence)
    limit = f", of {sentence['max_tokens']} tokens at most" if sentence["max_tokens"] else ""
    return f"{taken}, as its modules.json says; `outputs: [{EMBEDDING}]` is its very embedding ({exact}{limit})"


class TransformersTextBackbone(TextBackbone):
    """A text network of transformers, as `fetch` left it in `folder`; `half` says that it is a part of a whole one."""

    reentrant: ClassVar[bool] = True

    def __init__(
        self,
        folder: Path,
        tokenizer: Any,
        network: Any,
        outputs: Sequence[str],
        *,
        precision: str,
        device: str,
        half: bool,
        embedding: Embedding | None = None,
        sentence: Mapping[str, Any] | None = None,
        prompt: str | None = None,
    ) -> None:
        settings = read_settings(folder, weights_file=str)
        recipe = sentence if sentence and EMBEDDING in outputs else None
        limit = max_input_tokens(tokenizer, network)
        max_tokens = resolve_max_tokens(settings.get("max_tokens"), limit, folder)
        if recipe and recipe["max_tokens"] and settings.get("max_tokens") is None:
            max_tokens = min(max_tokens, recipe["max_tokens"])
        self.prompt = sentence_transformers.resolve_prompt(prompt, sentence, default=recipe is not None)
        tokenizer_files = [name for name in TOKENIZER_FILES if (folder / name).is_file()]
        spec: dict[str, Any] = {
            "family": "transformers",
            "version": VERSION,
            "weights": sources.sha256_of(folder / settings["weights_file"]),
            "config": fingerprint.of_file(folder / CONFIG_FILE),
            "tokenizer": {name: fingerprint.of_file(folder / name) for name in tokenizer_files},
            "max_tokens": max_tokens,
        }
        if self.prompt:
            spec["prompt"] = self.prompt
        if recipe:
            spec["sentence"] = {key: recipe[key] for key in ("poolings", "steps", "include_prompt", "lower")}
            if (folder / sentence_transformers.LAYERS_FILE).is_file():
                spec["sentence"]["weights"] = fingerprint.of_file(folder / sentence_transformers.LAYERS_FILE)
        super().__init__(
            network,
            spec=spec,
            settings=settings,
            outputs=outputs,
            precision=precision,
            device=device,
            embedding=embedding,
            loaded_in_precision=True,
        )
        self.folder, self.half = folder, half
        padded_fully = network.config.model_type in PADDED_FULLY
        self.use_tokenizer(
            tokenizer,
            config=network.config.to_dict(),
            max_tokens=max_tokens,
            padded_tokens=limit or max_tokens if padded_fully else None,
            lower=recipe is not None and recipe["lower"],
        )
        if self.prompt and recipe and not recipe["include_prompt"]:
            ids = self.prepare("").ids  # of the prompt alone
            self.prompt_tokens = len(ids) - (ids[-1] in tokenizer.all_special_ids)

    def save(self, folder: Path) -> None:
        """Write weights, config, tokenizer and settings."""
        if self.half:
            raise IceboxError(f"{self.folder} is half a network, which can't be saved as a whole one")
        folder.mkdir(parents=True, exist_ok=True)
        for name in (CONFIG_FILE, *TOKENIZER_FILES, sentence_transformers.LAYERS_FILE):
            if (self.folder / name).is_file():
                shutil.copyfile(self.folder / name, folder / name)
        network: Any = self.layer_outputs.network
        settings = dict(self.settings)
        if isinstance(self.layer_outputs.embedding, Projection):  # a tower: its config is a part of the whole one
            settings.setdefault(TOKENIZER_OF, read_json(self.folder / CONFIG_FILE, dict).get("model_type"))
            settings["tower"] = towers.save(network, self.layer_outputs.embedding, folder)
        write_settings(folder, settings | write_weights(plain_state(network), folder))


def resolve_max_tokens(max_tokens: int | None, limit: int | None, folder: Path) -> int:
    """`max_tokens`, or else the limit. Raises IceboxError where both are None, and for a value above the limit."""
    if max_tokens is None and limit is None:
        raise IceboxError(f"neither tokenizer nor config in {folder} states a maximum; set max_tokens")
    if max_tokens is not None and limit is not None and not 3 <= max_tokens <= limit:
        raise IceboxError(f"max_tokens: expected 3 to {limit} for {folder}, found {max_tokens}")
    return max_tokens or limit or 0

"""rnn_lm: an LSTM language model, trained here to predict the next word of running text; its states are the features.

Letters: b batch, t tokens, d features.
"""

import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.optim import Optimizer

from icebox.features import fingerprint
from icebox.features.abc.backbone import WEIGHTS_FILE, Generator, Pretraining, TextJudge, read_settings
from icebox.features.abc.dataset import Content, Modality
from icebox.features.errors import ItemError
from icebox.features.manifest.reading import Examples
from icebox.features.models.language_model import (
    CarriedStates,
    LSTMLanguageModel,
    PerplexityJudge,
    TextGenerator,
    mean_nll,
)
from icebox.features.models.schedules import set_learning_rate, warm_up_cosine
from icebox.features.nn.backbone import TorchBackbone
from icebox.features.nn.layer_outputs import Inputs
from icebox.features.nn.transfer import to_device_async
from icebox.features.seeds import step_seed
from icebox.features.text import tokenization
from icebox.features.text.batching import token_budget_batches

VERSION = 1
DEFAULT_OUTPUTS = ("last:final", "last:mean", "last:max")
VOCABULARY_FILE = "vocabulary.txt"
MAX_WORDS = 4096  # of a text; the rest is cut off
PREPROCESS = {
    "words": "WikiText's",
    "unseen": tokenization.UNKNOWN,
    "most_words": MAX_WORDS,
    "pooled": "all words, or a line's end",
}
BATCH_TOKENS = 4096  # of one forward pass when encoding, padding counted
WARM_UP = 0.05  # share of the steps in which the learning rate rises


def pretraining(
    *,
    data: Examples,
    seed: int = 0,
    epochs: int = 12,
    batch_size: int = 32,
    tokens: int = 35,
    width: int = 256,
    hidden: int = 256,
    layers: int = 2,
    dropout: float = 0.4,
    learning_rate: float = 0.003,
    weight_decay: float = 0.1,
    clip: float = 0.5,
) -> "LanguageModelPretraining":
    """Train on the text of the train split, at `batch_size` positions of it in parallel, `tokens` words per step.

    `width` is the width of the word vectors and of the features, `hidden` that of the layers below the last, of
    `layers` in all. `dropout`: the share left out of word vectors and states. `clip`: the gradient's largest length.
    """
    network = {"width": width, "hidden": hidden, "layers": layers}
    return LanguageModelPretraining(
        data,
        network=network,
        seed=seed,
        epochs=epochs,
        batch_size=batch_size,
        tokens=tokens,
        dropout=dropout,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        clip=clip,
    )


def load(folder: Path, *, outputs: Sequence[str], device: str, precision: str = "float32") -> "LanguageModelBackbone":
    """The network that `pretrain` left in `folder`. Outputs: `last`, `layers.N` or `words`, with final, mean, max."""
    return LanguageModelBackbone(folder, load_network(folder).to(device), outputs, precision=precision, device=device)


def generator(folder: Path, *, device: str) -> Generator:
    """Samples texts from the language model."""
    return TextGenerator(load_network(folder).to(device), read_vocabulary(folder), device)


def judge(folder: Path, *, device: str) -> TextJudge:
    """Computes the perplexity of texts under the language model."""
    return PerplexityJudge(load_network(folder).to(device), read_vocabulary(folder), device)


def load_network(folder: Path) -> LSTMLanguageModel:
    """The trained network with its softmax, in eval mode."""
    network = LSTMLanguageModel(words=len(read_vocabulary(folder)), **read_settings(folder, network=dict)["network"])
    network.load_state_dict(load_file(folder / WEIGHTS_FILE))
    return network.eval()


def read_vocabulary(folder: Path) -> list[str]:
    """The words of the network's vocabulary, in the order of their numbers."""
    return (folder / VOCABULARY_FILE).read_text(encoding="utf-8").splitlines()


class LanguageModelBackbone(TorchBackbone):
    """The states of the network after each word of a text."""

    modality: ClassVar[Modality] = "text"
    reentrant: ClassVar[bool] = True
    whole_shards: ClassVar[bool] = True

    def __init__(
        self, folder: Path, network: LSTMLanguageModel, outputs: Sequence[str], *, precision: str, device: str
    ) -> None:
        settings = read_settings(folder, network=dict)
        spec = {
            "family": "rnn_lm",
            "version": VERSION,
            **settings["network"],
            "weights": fingerprint.of_file(folder / WEIGHTS_FILE),
            "vocabulary": fingerprint.of_file(folder / VOCABULARY_FILE),
            "preprocess": PREPROCESS,
        }
        super().__init__(network, spec=spec, settings=settings, outputs=outputs, precision=precision, device=device)
        self.folder = folder
        self.number = {word: number for number, word in enumerate(read_vocabulary(folder))}

    def prepare(self, content: Content) -> list[int]:
        """Text → the numbers of a line's end (as in training) and of its words, UNKNOWN outside the vocabulary."""
        if not isinstance(content, str):
            raise ItemError(f"rnn_lm: expected a text, found {type(content).__name__}")
        unknown = self.number[tokenization.UNKNOWN]
        numbers = [self.number.get(word, unknown) for word in tokenization.tokenize(content)[:MAX_WORDS]]
        return [self.number[tokenization.END], *numbers]

    def was_cut(self, prepared: list[int]) -> bool:
        """Whether the text had more than MAX_WORDS words."""
        return len(prepared) > MAX_WORDS

    def is_mostly_unknown(self, prepared: list[int]) -> bool:
        """Whether more than half of the words are outside the vocabulary."""
        return 2 * prepared.count(self.number[tokenization.UNKNOWN]) > len(prepared) - 1

    def sub_batches(self, prepared: Sequence[list[int]]) -> Sequence[Sequence[int]]:
        """Batches of texts of similar length."""
        return token_budget_batches([len(tokens) for tokens in prepared], BATCH_TOKENS)

    def inputs(self, prepared: Sequence[list[int]]) -> Inputs:
        """b lists of word numbers → (b, t), padded at the end, which affects no state before the padding.

        The state after the line's end is masked unless the text is empty: it is the same in all texts, and where it is
        the maximum, heads would learn from its rounding.
        """
        texts = [torch.tensor(tokens) for tokens in prepared]
        tokens = to_device_async(pad_sequence(texts, batch_first=True), self.device)  # (b, t)
        ones = [torch.ones_like(text) for text in texts]
        mask = to_device_async(pad_sequence(ones, batch_first=True), self.device)  # (b, t)
        mask[:, 0] = mask.sum(1) == 1
        return Inputs((tokens,), mask=mask)

    def compile(self, batch_size: int | None) -> bool:
        """Not compiled: texts have too many lengths, each of which would be compiled anew."""
        return False

    def save(self, folder: Path) -> None:
        """Write weights, vocabulary and settings."""
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.folder / VOCABULARY_FILE, folder / VOCABULARY_FILE)
        super().save(folder)


class LanguageModelPretraining(Pretraining):
    """Truncated back-propagation through the text of the train split, which starts at another word in every epoch."""

    network: LSTMLanguageModel

    def __init__(
        self,
        data: Examples,
        *,
        network: dict[str, int],
        seed: int,
        epochs: int,
        batch_size: int,
        tokens: int,
        dropout: float,
        learning_rate: float,
        weight_decay: float,
        clip: float,
    ) -> None:
        data.expect("text", "rnn_lm")
        self.seed, self.batch_size, self.tokens = seed, batch_size, tokens
        self.learning_rate, self.clip, self.sizes = learning_rate, clip, network
        running = {
            split: tokenization.tokenize_lines("".join(map(str, data.contents(split))))
            for split in ("train", "val", "test")
        }
        self.vocabulary = tokenization.vocabulary(running["train"])
        number = {word: i for i, word in enumerate(self.vocabulary)}
        self.text = {
            split: torch.tensor([number.get(word, number[tokenization.UNKNOWN]) for word in words])
            for split, words in running.items()
        }
        self.end = number[tokenization.END]
        self.steps_per_epoch = (len(self.text["train"]) // batch_size - 1) // tokens
        self.steps = epochs * self.steps_per_epoch
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = LSTMLanguageModel(words=len(self.vocabulary), **network, dropout=dropout)
        self.carried = CarriedStates(self.network, batch_size)
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=learning_rate, betas=(0.9, 0.99), weight_decay=weight_decay
        )

    @property
    def parts(self) -> dict[str, nn.Module | Optimizer]:
        """Network, optimizer and the carried states."""
        return {"network": self.network, "optimizer": self.optimizer, "carried": self.carried}

    def step(self, index: int) -> float:
        """Train on the next `tokens` words at each position; returns the mean of their -log p, in nats."""
        set_learning_rate(self.optimizer, self.learning_rate * warm_up_cosine((index + 1) / self.steps, WARM_UP))
        epoch, position = divmod(index, self.steps_per_epoch)
        if position == 0:
            self.carried.set(None)
        batch = self.batch(epoch, position).to(self.device)
        hidden, states = self.network(batch[:, :-1], self.carried.get())
        nats: Tensor = self.network.softmax(hidden.flatten(0, 1), batch[:, 1:].flatten()).loss
        self.optimizer.zero_grad()
        torch.autograd.backward(nats)
        nn.utils.clip_grad_norm_(self.network.parameters(), self.clip)
        self.optimizer.step()
        self.carried.set(states)
        return nats.item()

    def batch(self, epoch: int, position: int) -> Tensor:
        """(b, t + 1) word numbers: step `position` of an epoch, whose text is rotated by a random length."""
        text = self.text["train"]
        rotation = torch.randint(len(text), (), generator=torch.Generator().manual_seed(step_seed(self.seed, epoch)))
        starts = torch.arange(self.batch_size)[:, None] * (len(text) // self.batch_size)
        positions = starts + position * self.tokens + torch.arange(self.tokens + 1) + rotation
        return text[positions % len(text)]

    def evaluate(self) -> dict[str, float]:
        """Perplexity of val and test over every word and line's end, the state carried from first to last."""
        return {
            f"perplexity_{split}": math.exp(mean_nll(self.network, self.text[split], first=self.end))
            for split in ("val", "test")
        }

    def settings(self) -> dict[str, Any]:
        """The sizes of the network: `load` builds it from them."""
        return {"network": self.sizes}

    def files(self) -> dict[str, str]:
        """The vocabulary, one word per line."""
        return {VOCABULARY_FILE: "".join(f"{word}\n" for word in self.vocabulary)}

"""An LSTM that says what word comes next.

What keeps one of this size from learning a small corpus by heart: word vectors tied to the softmax (Press and Wolf
2017; Inan et al. 2017) and one dropout mask for all positions of a text (Gal and Ghahramani 2016). The softmax is
adaptive (Grave et al. 2017): rare words have shorter vectors, and the time goes where the text is.

Letters: b batch, t tokens, d features, v words of the vocabulary.
"""

import itertools
import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from icebox.features.abc.backbone import Generator, TextJudge
from icebox.features.abc.dataset import Content, Modality
from icebox.features.text import tokenization

CUTOFFS = (2000, 10000)  # ranks at which the softmax's vectors become shorter
EVALUATION_TOKENS = 1024  # at a time
LENGTH = 80  # words of a text written here
PROMPTS, PROMPT = 5, 20  # how many real beginnings are continued, and their words
TEMPERATURE = 0.8  # below 1, likely words are drawn more often than they are expected

States = list[tuple[Tensor, Tensor]]  # of each layer, (1, b, d) each


class LSTMLanguageModel(nn.Module):
    """Word vectors, LSTM layers one above the other, and the softmax whose vectors those of the words are."""

    def __init__(self, *, words: int, width: int, hidden: int, layers: int, dropout: float = 0.0) -> None:
        super().__init__()
        cutoffs = [cutoff for cutoff in CUTOFFS if cutoff < words] or [words - 1]
        self.softmax = nn.AdaptiveLogSoftmaxWithLoss(width, words, cutoffs, div_value=2.0, head_bias=True)
        sizes = [width, *[hidden] * (layers - 1), width]
        self.layers = nn.ModuleList(nn.LSTM(a, b, batch_first=True) for a, b in itertools.pairwise(sizes))
        self.sizes = sizes[1:]
        self.words = nn.Identity()  # a place where word vectors can be had
        self.dropout = dropout
        self.width = width

    def forward(self, tokens: Tensor, states: States | None = None) -> tuple[Tensor, States]:
        """(b, t) and the states of the text before → (b, t, d) and the states behind it."""
        x = self.locked_dropout(self.words(self.embed(tokens)))
        after: States = []
        for number, layer in enumerate(self.layers):
            x, state = layer(x, states[number] if states else None)
            after.append(state)
            x = self.locked_dropout(x)
        return x, after

    def embed(self, tokens: Tensor) -> Tensor:
        """(b, t) → (b, t, d): the softmax's own vectors, those of rare words through its projections."""
        flat = tokens.flatten()
        first = self.softmax.shortlist_size
        table = self.softmax.head.weight
        vectors = F.embedding(flat.clamp(max=first - 1), table)
        for (narrow, wide), (low, high) in zip(self.tails(), itertools.pairwise(self.softmax.cutoffs), strict=True):
            places = ((flat >= low) & (flat < high)).nonzero().squeeze(1)
            if len(places):
                rare = F.embedding(flat[places] - low, wide) @ narrow
                vectors = vectors.index_copy(0, places, rare.to(vectors.dtype))
        return vectors.view(*tokens.shape, -1) * math.sqrt(self.width)

    def tails(self) -> list[tuple[Tensor, Tensor]]:
        """Of each group of rare words: the projection from d, and the vectors (words, shorter)."""
        return [tuple(tail.parameters()) for tail in self.softmax.tail]  # type: ignore[misc]

    def locked_dropout(self, x: Tensor) -> Tensor:
        """(b, t, d) → the same, without some features, which are the same ones at every position of a text."""
        if not self.training or not self.dropout:
            return x
        keep = 1 - self.dropout
        return x * (torch.rand(x.shape[0], 1, x.shape[2], device=x.device) < keep).to(x.dtype) / keep


@torch.inference_mode()
def mean_nll(network: LSTMLanguageModel, text: Tensor, *, first: int) -> float:
    """Mean of -log p of every word (t,), in nats, the state carried from first to last; `first` stands before them."""
    device = next(network.parameters()).device
    states: States | None = None
    total = 0.0
    behind = torch.cat([torch.tensor([first]), text])
    for start in range(0, len(text), EVALUATION_TOKENS):
        piece = behind[None, start : start + EVALUATION_TOKENS + 1].to(device)
        hidden, states = network(piece[:, :-1], states)
        total -= network.softmax(hidden[0], piece[0, 1:]).output.double().sum().item()
    return total / len(text)


class CarriedStates(nn.Module):
    """The layers' states between two steps, kept as buffers so that a checkpoint has them."""

    def __init__(self, network: LSTMLanguageModel, batch_size: int) -> None:
        super().__init__()
        for number, size in enumerate(network.sizes):
            for kind in "hc":
                self.register_buffer(f"{kind}{number}", torch.zeros(1, batch_size, size))
        self.layers = len(network.layers)

    def get(self) -> States:
        """A pair of each layer's states."""
        return [(self.get_buffer(f"h{number}"), self.get_buffer(f"c{number}")) for number in range(self.layers)]

    def set(self, states: States | None) -> None:
        """Keep these, without the graph that led to them; None: begin anew."""
        for number, pair in enumerate(self.get()):
            for kept, new in zip(pair, states[number] if states else (None, None), strict=True):
                kept.zero_() if new is None else kept.copy_(new.detach())


class TextGenerator(Generator):
    """Word by word, each drawn from what the network expects next; UNKNOWN is never drawn."""

    modality: ClassVar[Modality] = "text"

    def __init__(self, network: LSTMLanguageModel, vocabulary: Sequence[str], device: str) -> None:
        self.network, self.vocabulary, self.device = network, list(vocabulary), device
        self.end, self.unknown = vocabulary.index(tokenization.END), vocabulary.index(tokenization.UNKNOWN)

    def make(self, labels: Sequence[str], *, seed: int) -> list[Content]:
        """A text of LENGTH words for each label, begun behind a line's end."""
        written = self.continue_texts(torch.full((len(labels), 1), self.end), seed=seed)
        return [tokenization.joined(self.vocabulary[number] for number in row).strip() for row in written.tolist()]

    def sheets(self, contents: Sequence[Content], *, seed: int) -> dict[str, list[list[Content]]]:
        """Beginnings of real texts, and how they go on here and there."""
        number = {word: i for i, word in enumerate(self.vocabulary)}
        rows: list[list[Content]] = []
        for place, content in enumerate(contents[:PROMPTS]):
            real = [word for word in tokenization.of_lines(str(content)) if word != tokenization.END][: PROMPT + LENGTH]
            begun = torch.tensor([[number.get(word, self.unknown) for word in real[:PROMPT]]])
            written = [self.vocabulary[n] for n in self.continue_texts(begun, seed=seed + place)[0].tolist()]
            rows.append(
                [tokenization.joined(real[:PROMPT]), tokenization.joined(written), tokenization.joined(real[PROMPT:])]
            )
        return {"continued": rows}

    @torch.inference_mode()
    def continue_texts(self, begun: Tensor, *, seed: int) -> Tensor:
        """(b, t) → the next LENGTH words (b, LENGTH), which are drawn from a sharpened distribution."""
        generator = torch.Generator(self.device).manual_seed(seed)
        states: States | None = None
        piece = begun.to(self.device)
        sampled: list[Tensor] = []
        for _ in range(LENGTH):
            hidden, states = self.network(piece, states)
            logits = self.network.softmax.log_prob(hidden[:, -1]) / TEMPERATURE  # (b, v)
            logits[:, self.unknown] = float("-inf")
            piece = torch.multinomial(logits.softmax(1), 1, generator=generator)  # (b, 1)
            sampled.append(piece)
        return torch.cat(sampled, dim=1)


class PerplexityJudge(TextJudge):
    """Words never seen count as UNKNOWN."""

    def __init__(self, network: LSTMLanguageModel, vocabulary: Sequence[str], device: str) -> None:
        self.network, self.device = network, device
        self.number = {word: i for i, word in enumerate(vocabulary)}

    def perplexity(self, contents: Sequence[Content]) -> float:
        """Of all words and line ends of these texts."""
        total, count = 0.0, 0
        for content in contents:
            found = [
                word for line in str(content).split("\n") for word in (*tokenization.of_text(line), tokenization.END)
            ]
            text = torch.tensor([self.number.get(word, self.number[tokenization.UNKNOWN]) for word in found])
            total += mean_nll(self.network, text, first=self.number[tokenization.END]) * len(text)
            count += len(text)
        return math.exp(total / count)

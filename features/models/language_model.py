"""An LSTM language model, the texts that it writes, and its perplexity on texts of others.

Two things keep a network of this size from overfitting a small corpus: word vectors tied to the softmax (Press and Wolf
2017; Inan et al. 2017) and one dropout mask for all positions of a text (Gal and Ghahramani 2016). The softmax is
adaptive (Grave et al. 2017): rare words have shorter vectors, so most of the time is spent on the frequent words.

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
EVALUATION_TOKENS = 1024  # of a forward pass
GENERATED_WORDS = 80  # of a text written here
PROMPTS, PROMPT_WORDS = 5, 20  # how many real beginnings are continued, and their length
TEMPERATURE = 0.8  # below 1, likely words are sampled more often than the network predicts

States = list[tuple[Tensor, Tensor]]  # one pair (hidden, cell) per layer, (1, b, d) each


class LSTMLanguageModel(nn.Module):
    """Word vectors, stacked LSTM layers, and an adaptive softmax that shares its vectors with the words.

    The names of the modules are keys of the stored weights.
    """

    def __init__(self, *, words: int, width: int, hidden: int, layers: int, dropout: float = 0.0) -> None:
        super().__init__()
        cutoffs = [cutoff for cutoff in CUTOFFS if cutoff < words] or [words - 1]
        self.softmax = nn.AdaptiveLogSoftmaxWithLoss(width, words, cutoffs, div_value=2.0, head_bias=True)
        sizes = [width, *[hidden] * (layers - 1), width]
        self.layers = nn.ModuleList(nn.LSTM(a, b, batch_first=True) for a, b in itertools.pairwise(sizes))
        self.sizes = sizes[1:]
        self.words = nn.Identity()  # makes the word vectors available as the output `words`
        self.dropout = dropout
        self.width = width

    def forward(self, tokens: Tensor, states: States | None = None) -> tuple[Tensor, States]:
        """Tokens (b, t) and the states after the text before them → features (b, t, d) and the states after them."""
        x = self.locked_dropout(self.words(self.embed(tokens)))
        new_states: States = []
        for number, layer in enumerate(self.layers):
            x, state = layer(x, states[number] if states else None)
            new_states.append(state)
            x = self.locked_dropout(x)
        return x, new_states

    def embed(self, tokens: Tensor) -> Tensor:
        """Tokens (b, t) → the softmax's vectors (b, t, d), those of rare words through its projections."""
        flat = tokens.flatten()
        shortlist = self.softmax.shortlist_size
        vectors = F.embedding(flat.clamp(max=shortlist - 1), self.softmax.head.weight)
        for (projection, table), (low, high) in zip(
            self.tails(), itertools.pairwise(self.softmax.cutoffs), strict=True
        ):
            positions = ((flat >= low) & (flat < high)).nonzero().squeeze(1)
            if len(positions):
                rare = F.embedding(flat[positions] - low, table) @ projection
                vectors = vectors.index_copy(0, positions, rare.to(vectors.dtype))
        return vectors.view(*tokens.shape, -1) * math.sqrt(self.width)

    def tails(self) -> list[tuple[Tensor, Tensor]]:
        """For each group of rare words: the projection (shorter, d) and the vectors (words, shorter)."""
        return [tuple(tail.parameters()) for tail in self.softmax.tail]  # type: ignore[misc]

    def locked_dropout(self, x: Tensor) -> Tensor:
        """Dropout (b, t, d) → (b, t, d) that drops the same features at every position of a text."""
        if not self.training or not self.dropout:
            return x
        keep = 1 - self.dropout
        return x * (torch.rand(x.shape[0], 1, x.shape[2], device=x.device) < keep).to(x.dtype) / keep


@torch.inference_mode()
def mean_nll(network: LSTMLanguageModel, text: Tensor, *, first: int) -> float:
    """Mean negative log-likelihood of the words (t,), in nats, with the state carried from the first to the last.

    `first` is the token before them.
    """
    device = next(network.parameters()).device
    states: States | None = None
    total = 0.0
    tokens = torch.cat([torch.tensor([first]), text])
    for start in range(0, len(text), EVALUATION_TOKENS):
        window = tokens[None, start : start + EVALUATION_TOKENS + 1].to(device)
        hidden, states = network(window[:, :-1], states)
        total -= network.softmax(hidden[0], window[0, 1:]).output.cpu().double().sum().item()
    return total / len(text)


class CarriedStates(nn.Module):
    """The layers' states between two steps, kept as buffers so that a checkpoint contains them."""

    def __init__(self, network: LSTMLanguageModel, batch_size: int) -> None:
        super().__init__()
        for number, size in enumerate(network.sizes):
            for kind in "hc":
                self.register_buffer(f"{kind}{number}", torch.zeros(1, batch_size, size))
        self.layers = len(network.layers)

    def get(self) -> States:
        """The states of every layer."""
        return [(self.get_buffer(f"h{number}"), self.get_buffer(f"c{number}")) for number in range(self.layers)]

    def set(self, states: States | None) -> None:
        """Store the states, detached from the graph that computed them; None sets them to zero."""
        for number, pair in enumerate(self.get()):
            for buffer, new in zip(pair, states[number] if states else (None, None), strict=True):
                buffer.zero_() if new is None else buffer.copy_(new.detach())


class TextGenerator(Generator):
    """Samples texts word by word from the network's predictions; UNKNOWN is never sampled."""

    modality: ClassVar[Modality] = "text"

    def __init__(self, network: LSTMLanguageModel, vocabulary: Sequence[str], device: str) -> None:
        self.network, self.vocabulary, self.device = network, list(vocabulary), device
        self.end, self.unknown = vocabulary.index(tokenization.END), vocabulary.index(tokenization.UNKNOWN)

    def make(self, labels: Sequence[str], *, seed: int) -> list[Content]:
        """A text of GENERATED_WORDS words for each label, each beginning after a line's end."""
        texts = self.continue_texts(torch.full((len(labels), 1), self.end), seed=seed)
        return [tokenization.detokenize(self.vocabulary[number] for number in row).strip() for row in texts.tolist()]

    def comparison_rows(self, contents: Sequence[Content], *, seed: int) -> dict[str, list[list[Content]]]:
        """Rows of: the beginning of a real text, its continuation by the network, its real continuation."""
        number = {word: i for i, word in enumerate(self.vocabulary)}
        rows: list[list[Content]] = []
        for position, content in enumerate(contents[:PROMPTS]):
            words = [word for word in tokenization.tokenize_lines(str(content)) if word != tokenization.END]
            prompt, real = words[:PROMPT_WORDS], words[PROMPT_WORDS : PROMPT_WORDS + GENERATED_WORDS]
            tokens = torch.tensor([[number.get(word, self.unknown) for word in prompt]])
            generated = [self.vocabulary[n] for n in self.continue_texts(tokens, seed=seed + position)[0].tolist()]
            rows.append([tokenization.detokenize(part) for part in (prompt, generated, real)])
        return {"continued": rows}

    @torch.inference_mode()
    def continue_texts(self, prompts: Tensor, *, seed: int) -> Tensor:
        """Tokens (b, t) → the next GENERATED_WORDS tokens (b, GENERATED_WORDS), sampled at TEMPERATURE."""
        generator = torch.Generator(self.device).manual_seed(seed)
        states: States | None = None
        tokens = prompts.to(self.device)
        sampled: list[Tensor] = []
        for _ in range(GENERATED_WORDS):
            hidden, states = self.network(tokens, states)
            logits = self.network.softmax.log_prob(hidden[:, -1]) / TEMPERATURE  # (b, v)
            logits[:, self.unknown] = float("-inf")
            tokens = torch.multinomial(logits.softmax(1), 1, generator=generator)  # (b, 1)
            sampled.append(tokens)
        return torch.cat(sampled, dim=1)


class PerplexityJudge(TextJudge):
    """The perplexity of texts under the network; words outside the vocabulary count as UNKNOWN."""

    def __init__(self, network: LSTMLanguageModel, vocabulary: Sequence[str], device: str) -> None:
        self.network, self.device = network, device
        self.number = {word: i for i, word in enumerate(vocabulary)}

    def perplexity(self, contents: Sequence[Content]) -> float:
        """Perplexity over all words and line ends of these texts."""
        total, count = 0.0, 0
        for content in contents:
            words = [
                word for line in str(content).split("\n") for word in (*tokenization.tokenize(line), tokenization.END)
            ]
            text = torch.tensor([self.number.get(word, self.number[tokenization.UNKNOWN]) for word in words])
            total += mean_nll(self.network, text, first=self.number[tokenization.END]) * len(text)
            count += len(text)
        return math.exp(total / count)

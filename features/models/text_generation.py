"""What a language model writes, and what it makes of what others wrote.

Letters: b batch, t tokens, v words of the vocabulary.
"""

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from icebox.features.abc.backbone import Generator, TextJudge
from icebox.features.abc.dataset import Content, Modality
from icebox.features.models.language_model import Network, States, loss
from icebox.features.text import tokenization

LENGTH = 80  # words of a text written here
PROMPTS, PROMPT = 5, 20  # how many real beginnings are continued, and their words
TEMPERATURE = 0.8  # below 1, likely words are drawn more often than they are expected


class Writing(Generator):
    """Word by word, each drawn from what the network expects next; UNKNOWN is never drawn."""

    modality: ClassVar[Modality] = "text"

    def __init__(self, network: Network, vocabulary: Sequence[str], device: str) -> None:
        self.network, self.vocabulary, self.device = network, list(vocabulary), device
        self.end, self.unknown = vocabulary.index(tokenization.END), vocabulary.index(tokenization.UNKNOWN)

    def make(self, labels: Sequence[str], *, seed: int) -> list[Content]:
        """A text of LENGTH words for each label, begun behind a line's end."""
        written = self.continued(torch.full((len(labels), 1), self.end), seed=seed)
        return [tokenization.joined(self.vocabulary[number] for number in row).strip() for row in written.tolist()]

    def sheets(self, contents: Sequence[Content], *, seed: int) -> dict[str, list[list[Content]]]:
        """Beginnings of real texts, and how they go on here and there."""
        number = {word: i for i, word in enumerate(self.vocabulary)}
        rows: list[list[Content]] = []
        for place, content in enumerate(contents[:PROMPTS]):
            real = [word for word in tokenization.of_lines(str(content)) if word != tokenization.END][: PROMPT + LENGTH]
            begun = torch.tensor([[number.get(word, self.unknown) for word in real[:PROMPT]]])
            written = [self.vocabulary[n] for n in self.continued(begun, seed=seed + place)[0].tolist()]
            rows.append(
                [tokenization.joined(real[:PROMPT]), tokenization.joined(written), tokenization.joined(real[PROMPT:])]
            )
        return {"continued": rows}

    @torch.inference_mode()
    def continued(self, begun: Tensor, *, seed: int) -> Tensor:
        """(b, t) → the next LENGTH words (b, LENGTH), which are drawn from a sharpened distribution."""
        generator = torch.Generator(self.device).manual_seed(seed)
        states: States | None = None
        piece = begun.to(self.device)
        drawn: list[Tensor] = []
        for _ in range(LENGTH):
            hidden, states = self.network(piece, states)
            logits = self.network.softmax.log_prob(hidden[:, -1]) / TEMPERATURE  # (b, v)
            logits[:, self.unknown] = float("-inf")
            piece = torch.multinomial(logits.softmax(1), 1, generator=generator)  # (b, 1)
            drawn.append(piece)
        return torch.cat(drawn, dim=1)


class Judge(TextJudge):
    """Words never seen count as UNKNOWN."""

    def __init__(self, network: Network, vocabulary: Sequence[str], device: str) -> None:
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
            total += loss(self.network, text, first=self.number[tokenization.END]) * len(text)
            count += len(text)
        return math.exp(total / count)

"""glyphnet: a small residual network, pretrained here on printed characters, meant for handwritten ones.

Nothing is downloaded: the training data are the fonts that ship with matplotlib (features/models/glyphs.py). The names
of the networks' modules are keys of the stored weights.

Letters: b batch, d features, h height, w width, r = SIDE pixels.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from icebox.features import fingerprint
from icebox.features.abc.backbone import WEIGHTS_FILE, Pretraining, read_settings
from icebox.features.abc.dataset import Content, Modality
from icebox.features.images.decoding import to_image
from icebox.features.json_files import POSITIVE
from icebox.features.models.glyphs import CHARACTERS, FONTS, SIDE, render
from icebox.features.models.schedules import set_learning_rate, warm_up_cosine
from icebox.features.nn.backbone import TorchBackbone
from icebox.features.nn.layer_outputs import LAST, Inputs
from icebox.features.nn.transfer import to_device_async
from icebox.features.seeds import step_seed

VERSION = 2  # 2: batch norm folded into the convolutions
DEFAULT_OUTPUTS = (LAST,)
HELD_OUT_FONTS = ("STIXGeneralItalic", "cmss10")  # the scores of `evaluate` are on characters of these only
EVALUATION_BATCHES = 10
WARM_UP = 0.2  # share of the steps in which the learning rate rises
PREPROCESS = {
    "mode": "grey",
    "polarity": "inverted where the median of the outermost pixels is nearer the lightest than the darkest",
    "pad": "to a square, centred, with that median",
    "resize": f"{SIDE}x{SIDE}, bilinear, antialiased",
    "stretch": "darkest to 0, lightest to 255",
    "scale": "1/255",
}


def pretraining(
    *, seed: int = 0, steps: int = 1000, batch_size: int = 128, learning_rate: float = 0.1, width: int = 32
) -> "GlyphNetPretraining":
    """Train to classify the 62 characters, in any font, pen and paper. `width` channels in the first stage."""
    return GlyphNetPretraining(seed=seed, steps=steps, batch_size=batch_size, learning_rate=learning_rate, width=width)


def load(folder: Path, *, outputs: Sequence[str], device: str, precision: str = "float32") -> "GlyphNetBackbone":
    """The network that `pretrain` left in `folder`. Outputs: `last`, or `stage1`…`stage3` with avg, max, flatten."""
    settings = read_settings(folder, width=POSITIVE)
    network = GlyphNet(width=settings["width"])
    network.load_state_dict(load_file(folder / WEIGHTS_FILE))
    spec = {
        "family": "glyphnet",
        "version": VERSION,
        "width": settings["width"],
        "weights": fingerprint.of_file(folder / WEIGHTS_FILE),
        "preprocess": PREPROCESS,
    }
    return GlyphNetBackbone(
        network.to(device), spec=spec, settings=settings, outputs=outputs, precision=precision, device=device
    )


class GlyphNetBackbone(TorchBackbone):
    """Features of images that are first made small, with light strokes on dark."""

    modality: ClassVar[Modality] = "image"
    reentrant: ClassVar[bool] = True

    def prepare(self, content: Content) -> np.ndarray:
        """One image → uint8 (r, r), light on dark and of full contrast, see PREPROCESS."""
        pixels = np.asarray(to_image(content).convert("L"))
        border = int(np.median(np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])))
        if 2 * border > int(pixels.min()) + int(pixels.max()):
            pixels, border = 255 - pixels, 255 - border
        height, width = pixels.shape
        square = Image.new("L", (max(height, width),) * 2, border)
        square.paste(Image.fromarray(pixels), ((square.width - width) // 2, (square.height - height) // 2))
        small = np.asarray(square.resize((SIDE, SIDE), Image.Resampling.BILINEAR), dtype=np.float32)
        low, high = small.min(), small.max()
        stretched: np.ndarray = np.rint((small - low) * (255 / max(high - low, 1)))
        return stretched.astype(np.uint8)

    def inputs(self, prepared: Sequence[np.ndarray]) -> Inputs:
        """b images, uint8 (r, r) each → float32 (b, 1, r, r) in 0..1."""
        images = to_device_async(torch.from_numpy(np.stack(prepared)[:, None]), self.device)
        return Inputs((images.float() / 255,))


class GlyphNet(nn.Module):
    """Three residual stages, with 16, 8 and 4 positions per side.

    `last` concatenates the pooled outputs of two of them: the deeper stage represents characters, the shallower still
    strokes, which other scripts share. Both are pooled over quarters of the image, so that 6 and 9 differ clearly.
    """

    def __init__(self, *, width: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(*conv_batchnorm(1, width, stride=2), nn.ReLU())
        self.stage1 = ResidualBlock(width, width, stride=1)
        self.stage2 = ResidualBlock(width, 2 * width, stride=2)
        self.stage3 = ResidualBlock(2 * width, 4 * width, stride=2)
        self.d = 4 * (2 * width + 4 * width)

    def forward(self, images: Tensor) -> Tensor:
        """(b, 1, r, r) in 0..1 → (b, d)."""
        ink = self.stem(images).contiguous(memory_format=torch.channels_last)  # a quarter faster on a CPU
        strokes = self.stage2(self.stage1(ink))  # (b, d/12, 8, 8)
        characters = self.stage3(strokes)  # (b, d/6, 4, 4)
        return torch.cat([F.adaptive_avg_pool2d(x, 2).flatten(1) for x in (strokes, characters)], dim=1)


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions with a shortcut."""

    def __init__(self, d_in: int, d_out: int, *, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *conv_batchnorm(d_in, d_out, stride=stride), nn.ReLU(), *conv_batchnorm(d_out, d_out, stride=1)
        )
        projection = [nn.AvgPool2d(stride), *conv_batchnorm(d_in, d_out, stride=1, size=1)]
        self.shortcut = nn.Identity() if d_in == d_out else nn.Sequential(*projection)

    def forward(self, x: Tensor) -> Tensor:
        """(b, d_in, h, w) → (b, d_out, h / stride, w / stride)."""
        return F.relu(self.body(x) + self.shortcut(x))


def conv_batchnorm(d_in: int, d_out: int, *, stride: int, size: int = 3) -> list[nn.Module]:
    """A convolution and its batch norm."""
    return [
        nn.Conv2d(d_in, d_out, size, stride=stride, padding=size // 2, bias=False),
        nn.BatchNorm2d(d_out),
    ]


class GlyphNetPretraining(Pretraining):
    """Train by classifying newly rendered characters. Batch `index` depends on seed and index alone."""

    def __init__(self, *, seed: int, steps: int, batch_size: int, learning_rate: float, width: int) -> None:
        self.seed, self.steps, self.batch_size, self.learning_rate = seed, steps, batch_size, learning_rate
        self.width = width
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = GlyphNet(width=width)
            self.classifier = nn.Linear(network.d, len(CHARACTERS))
        self.network = network
        parameters = [*self.network.parameters(), *self.classifier.parameters()]
        self.optimizer = torch.optim.SGD(parameters, lr=learning_rate, momentum=0.9, nesterov=True, weight_decay=5e-4)

    @property
    def parts(self) -> dict[str, nn.Module | Optimizer]:
        """Network, classifier and optimizer."""
        return {"network": self.network, "classifier": self.classifier, "optimizer": self.optimizer}

    def step(self, index: int) -> float:
        """One batch, one step; the learning rate rises linearly, then falls to 0 along a cosine."""
        set_learning_rate(self.optimizer, self.learning_rate * warm_up_cosine((index + 1) / self.steps, WARM_UP))
        scores, labels = self.classify_batch(tuple(font for font in FONTS if font not in HELD_OUT_FONTS), 1 + index)
        loss = F.cross_entropy(scores, labels, label_smoothing=0.1)  # o, O and 0 can't be told apart once scaled
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        self.optimizer.step()
        return loss.item()

    @torch.inference_mode()
    def evaluate(self) -> dict[str, float]:
        """Accuracy on characters of the held-out fonts; `accuracy_caseless` takes s and S as one class."""
        correct = caseless = 0
        lower = torch.tensor([CHARACTERS.index(c.lower()) for c in CHARACTERS], device=self.device)
        for batch in range(EVALUATION_BATCHES):
            scores, labels = self.classify_batch(HELD_OUT_FONTS, -1 - batch)
            predicted = scores.argmax(1)
            correct += int((predicted == labels).sum())
            caseless += int((lower[predicted] == lower[labels]).sum())
        total = EVALUATION_BATCHES * self.batch_size
        return {"accuracy": correct / total, "accuracy_caseless": caseless / total}

    def classify_batch(self, fonts: tuple[str, ...], batch: int) -> tuple[Tensor, Tensor]:
        """Render a batch of characters and classify it: scores (b, 62), labels (b,)."""
        generator = torch.Generator().manual_seed(step_seed(self.seed, batch) & 0x7FFF_FFFF_FFFF)
        labels = torch.randint(len(CHARACTERS), (self.batch_size,), generator=generator)
        images = render(fonts).draw(labels, generator).to(self.device)
        return self.classifier(self.network(images)), labels.to(self.device)

    def settings(self) -> dict[str, Any]:
        """The network's width: `load` builds the network from it."""
        return {"width": self.width}

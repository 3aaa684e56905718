"""Fuzz target: params.yaml, from this project's own and from every recipe."""

import re
from pathlib import Path
from random import Random

from icebox.pipeline.config import loader
from icebox.pipeline.project import paths
from tests.conftest import PROJECT
from tests.fuzz.mutations import mutate
from tests.fuzz.target import Target

SCALARS = (
    "null", "true", "~", "''", "0", "-1", "1.5", ".nan", ".inf", "1e400", "9" * 5000, "0x1", "2001-01-01", "2001-99-99",
    "[]", "{}", "[[]]", "{1: 8}", "{null: 1}", "{true: 1}", "[1, x, 2.0]", "!!int abc", "!!float x", "!!bool maybe",
    "!!str 1", "!!binary zz", "!!set {a}", "!!omap [a: 1]", "!!python/name:os.system x", "!foo x", '"\\UFFFFFFFF"',
    "*x", "&x [*x]", "<<", "{<<: 1}", "a;touch x;", "$(touch x)", "../../x", "/etc/passwd", "'a\nb'", '"\\0"',
    "x" * 5000,
    "none", "all", "data.raw.x.y", "(.*)*x(.*)*y$", "random-resized-crop-99999999", "grid-99999",
    "[" * 200 + "]" * 200,
)  # fmt: skip
WORD = re.compile(r"[\w.+-]+|\[[^\[\]]*\]")


class Params(Target):
    name = "params.yaml"
    share = 2.0

    def samples(self) -> list[tuple[Path, bytes]]:
        recipes = sorted((PROJECT / "recipes").glob("*.yaml"))
        return [(paths.PARAMS, path.read_bytes()) for path in [PROJECT / paths.PARAMS, *recipes]]

    def mutated(self, content: bytes, random: Random) -> bytes:
        if random.random() < 0.3:
            return mutate(content, random)
        text = content.decode()
        for _ in range(random.choice((1, 1, 2, 3))):
            words = list(WORD.finditer(text))
            word = random.choice(words)
            new = random.choice(SCALARS) if random.random() < 0.8 else random.choice(words).group()
            text = text[: word.start()] + new + text[word.end() :]
        return text.encode()

    def read(self, path: Path) -> None:
        loader.load()


TARGETS: list[Target] = [Params()]

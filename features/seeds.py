"""Seeds of the single steps of a training, so that no random state has to be stored to resume one."""

STRIDE = 1_000_003  # a prime: steps of trainings with small seeds seldom share a seed


def step_seed(seed: int, step: int) -> int:
    """The seed of a step, an epoch or a batch, drawn from a training's `seed` and its number alone."""
    return seed * STRIDE + step

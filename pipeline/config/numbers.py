"""Types of numbers that several sections of params.yaml have, with their bounds."""

from typing import Annotated

from pydantic import Field

Fraction = Annotated[float, Field(ge=0, lt=1)]
LearningRate = Annotated[float, Field(gt=0, le=10)]
Positive = Annotated[float, Field(gt=0)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]  # and as many seeds after it
Share = Annotated[float, Field(ge=0, le=1)]

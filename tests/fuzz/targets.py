"""All fuzz targets, by the kind of file."""

from tests.fuzz import datasets, own_files, params
from tests.fuzz.target import Target

TARGETS: list[Target] = [*own_files.TARGETS, *params.TARGETS, *datasets.TARGETS]

"""All fuzz targets, by the kind of file."""

from tests.fuzz import binary_files, datasets, networks, own_files, params, pictures
from tests.fuzz.target import Target

TARGETS: list[Target] = [
    *own_files.TARGETS,
    *params.TARGETS,
    *datasets.TARGETS,
    *pictures.TARGETS,
    *binary_files.TARGETS,
    *networks.TARGETS,
]

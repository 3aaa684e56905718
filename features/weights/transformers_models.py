"""Load networks of `transformers` from a folder with config.json and weights; nothing is fetched, no code run."""

import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from icebox.features.compat import allow_mismatched_torchvision
from icebox.features.errors import IceboxError
from icebox.features.nn.layer_outputs import split_output

UNUSED_PARTS = ("pooler.", "decoder.")  # may be missing from the weights: `last` does not depend on them
FAILURES = (OSError, ValueError, KeyError, RuntimeError, SafetensorError, pickle.UnpicklingError)


def import_transformers() -> Any:
    """transformers itself, importable also beside a torch and a torchvision of different builds."""
    allow_mismatched_torchvision()
    import transformers

    return transformers


def load_network(folder: Path, *, also: str) -> tuple[Any, list[str]]:
    """The network in `folder`, float32, and the names of the parameters that its weights lack.

    Raises IceboxError where it can't be loaded; `also` names the other file that has to be there, for that error.
    """
    try:
        with silence():
            network, loading = import_transformers().AutoModel.from_pretrained(
                folder, local_files_only=True, weights_only=True, dtype=torch.float32, output_loading_info=True
            )
    except FAILURES as error:
        raise load_error(folder, error, also=also) from error
    return network, sorted(loading["missing_keys"])


def load_error(folder: Path, error: Exception, *, also: str) -> IceboxError:
    """The error for files that transformers can't load."""
    return IceboxError(
        f"transformers can't load {folder}: {str(error).strip() or repr(error)}\n"
        f"Expected whole weights of tensors only, and a config.json and {also} that it knows without remote code."
    )


def refuse_untrained(missing: Sequence[str], outputs: Sequence[str], folder: Path) -> None:
    """Raise IceboxError where an output depends on parameters that the weights lack, which would be random."""
    layers = tuple(f"{split_output(name)[0]}." for name in outputs)
    used = [key for key in missing if not key.startswith(UNUSED_PARTS) or key.startswith(layers)]
    if used:
        raise IceboxError(
            f"the weights in {folder} lack {len(used)} parameters that the outputs {list(outputs)} need, "
            f"first '{used[0]}'; ask for other layers, or take weights that fit config.json"
        )


@contextmanager
def silence() -> Iterator[None]:
    """Within it transformers shows no progress bars and reports, which would bury our own lines."""
    from transformers.utils import logging

    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()

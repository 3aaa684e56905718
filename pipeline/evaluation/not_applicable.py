"""The files of a head that a store can't have: every output of its stage is there, and the details say why.

A stage for each store and each head is what dvc.yaml names, also where the two can't go together.
"""

import json

import pyarrow as pa
import pyarrow.parquet as pq

from icebox.features import files
from icebox.features.errors import IceboxError
from icebox.features.fingerprint import of_file
from icebox.features.json_files import read_json
from icebox.pipeline.evaluation import plots
from icebox.pipeline.project import paths

KEY = "not_applicable"  # of the details and the card: the reason
HEADERS = {"confusion": plots.CONFUSION_HEADER, "roc": plots.ROC_HEADER}


def write(input_name: str, head: str, reason: str) -> None:
    """Write a table of predictions and plots without content, and the reason as bundle, card and details."""
    path = paths.bundle(input_name, head)
    files.write_text(path, f"{reason}\n")  # not empty: DVC warns of empty files
    card = {"sha256": of_file(path), "input": input_name, "head": head, KEY: reason}
    files.write_text(paths.card(input_name, head), json.dumps(card, indent=2) + "\n")
    files.write_text(paths.details(input_name, head), json.dumps({KEY: reason}, indent=2) + "\n")
    files.write_text(paths.metrics(input_name, head), "{}\n")
    with files.replacing(paths.predictions(input_name, head)) as temporary:
        pq.write_table(pa.table({"item_id": pa.array([], pa.string()), "split": pa.array([], pa.string())}), temporary)
    for name, header in HEADERS.items():
        files.write_text(paths.plot(input_name, head, name), plots.table(header, []))


def reason(input_name: str, head: str) -> str:
    """Why a store can't have a head; "" where it can, and where there are no details here."""
    try:
        content = read_json(paths.details(input_name, head), dict)
    except IceboxError:  # missing or damaged: whoever reads the scores says so
        return ""
    return str(content.get(KEY, ""))

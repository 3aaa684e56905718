"""The command `drift`: whether new items are still of the kind that a head was fitted on."""

import json
from pathlib import Path
from typing import Annotated

import typer

from icebox.features.errors import IceboxError, located

DRIFT = 3  # exit code; 1 is an error, 2 wrong use


def drift(
    head: Annotated[str, typer.Argument(metavar="STORE/HEAD", help="The fitted head.")],
    sketches: Annotated[
        list[Path], typer.Argument(metavar="SKETCH", help="Sketches that predict or serve wrote; several are merged.")
    ],
    split: Annotated[
        str, typer.Option(metavar="NAME", help="The items that the new ones are compared with.")
    ] = "train",
    as_json: Annotated[bool, typer.Option("--json", help="Everything, as JSON.")] = False,
) -> None:
    """Compare sketches of new items with a split of the store. Exit code 3 where they are of another kind, else 0."""
    from icebox.features.joining.joined_store import open_store
    from icebox.pipeline.data.feature_selection import FeatureSelection
    from icebox.pipeline.drift import compare, sketch
    from icebox.pipeline.exported.folder import is_export
    from icebox.pipeline.inference import bundle
    from icebox.pipeline.project import head_names, paths

    if is_export(Path(head)):
        raise IceboxError(
            f"drift {head}: is an export, which holds no features of train; name the head that it was made of, "
            "STORE/HEAD, in its project"
        )
    place = head_names.find(head, head_names.on_disk())
    card = bundle.read_card(paths.bundle(*place))
    store = open_store(paths.store(card["store"]))
    if store.fingerprint != card["fingerprint"]:
        raise IceboxError(
            f"drift {head}: the store {paths.store(card['store'])} is not the one this head was fitted on "
            f"(fingerprints differ); run: dvc repro {paths.fit_stage(*place)}"
        )
    outputs, view = card["sees"]["outputs"], card["sees"]["view"]
    merged = sketch.Sketch(sketch.source_of(store.fingerprint, outputs, view))
    for path in sketches:
        opened = sketch.read(path)
        with located(str(path)):
            merged.merge(opened)
    with located(f"drift {head}"):
        result = compare.compare(store, FeatureSelection(tuple(outputs), (view,)), merged, split=split)
    print(json.dumps(result.as_json(), indent=2) if as_json else result.as_text())
    if result.is_certain:
        raise typer.Exit(DRIFT)

"""Stage `look@STORE`: a map of the store's test items, their nearest train items, and suspected label errors."""

import hashlib
import json
import logging

from icebox.features import files
from icebox.features.joining.joined_store import open_store
from icebox.features.names import in_line
from icebox.pipeline.config.schema import Config
from icebox.pipeline.data.manifest_rows import ManifestRows
from icebox.pipeline.exploration import explore
from icebox.pipeline.project import paths, progress

logger = logging.getLogger("icebox")


def run(config: Config, key: str) -> None:
    """Write `results/maps/KEY.json` (the report shows it), and a summary of it, which git keeps."""
    dataset = config.dataset_name(key)
    rows = ManifestRows.read(paths.manifest(dataset))
    with progress.bar(total=explore.STEPS, desc=f"look {key}", unit="step") as bar:
        document = explore.explore(
            open_store(paths.store(key)),
            task=config.datasets[dataset].task,
            group_of=lambda item_id: (row.group or row.item_key) if (row := rows.get(item_id)) else item_id,
            seed=config.fit.seed,
            on_step=bar.update,
        )
    text = json.dumps({"store": key, **document}, ensure_ascii=False, separators=(",", ":")) + "\n"
    files.write_text(paths.feature_map(key), text)
    task = config.datasets[dataset].task
    apart = explore.separations(open_store(paths.store(key)), task=task, seed=config.fit.seed)
    summary = {
        "mapped": len(document["map"]["item_ids"]),
        "suspected": document["suspected"],
        "near_duplicates": {name: document["near"][name] for name in ("found", "across")},
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        **({"apart": apart} if apart else {}),
    }
    files.write_text(paths.look(key), json.dumps(summary, indent=2) + "\n")
    mapped, suspected = (f"{summary[name]:,}" for name in ("mapped", "suspected"))
    logger.info("%s: %s test items mapped, %s labels suspected", key, mapped, suspected)
    near = document["near"]
    if near["across"]:
        first, second, _ = near["pairs"][0]
        logger.warning(
            "%s: %s pairs of near-duplicates across splits (%s = %s%s); the report shows them, and leakage: near in "
            "the dataset's split leaves them out of train",
            key,
            f"{near['across']:,}",
            in_line(first),
            in_line(second),
            " …" if near["across"] > 1 else "",
        )

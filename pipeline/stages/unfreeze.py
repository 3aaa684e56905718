"""Stage `unfreeze@NAME`: train a store's backbone on, end to end, from a head that was fitted on the store."""

import logging
import shutil

from icebox.features.errors import located
from icebox.pipeline.config.schema import Config
from icebox.pipeline.evaluation import formatting, results
from icebox.pipeline.project import paths
from icebox.pipeline.training.curves import Curve, summarize
from icebox.pipeline.unfreezing import artifacts, runs
from icebox.pipeline.unfreezing.job import FineTuningJob

logger = logging.getLogger("icebox")


def run(config: Config, key: str) -> None:
    """Write the network as a backbone, its head as a bundle, the curve, and the results that every head has."""
    with located(f"unfreeze.{key}"):
        job = job_of(config, key)
        curve = Curve(paths.curve(key))
        trained = runs.run_seeds(job, on_epoch=lambda line: curve.add(*artifacts.curve_line(line)))
    first = trained[0]
    curve.add_summary(summarize(first.progress.curve, job.choose))
    artifacts.save(job, first)
    results.write(
        job.options.store,
        key,
        classes=job.classes,
        splits=first.splits,
        val=first.splits["val"].scores,
        numbers={"train_n": len(job.rows["train"]), "fit_s": round(first.progress.seconds, 3)},
        details=artifacts.details(job, trained),
    )
    shutil.rmtree(job.folder, ignore_errors=True)  # a finished run needs no checkpoints
    test = formatting.scores_line(first.splits["test"].scores, job.fit.choose)
    logger.info("%s: best after epoch %d: test %s", key, first.progress.best_epoch, test)


def job_of(config: Config, key: str) -> FineTuningJob:
    """The setup of an entry, by the task of its dataset."""
    task = config.task(config.unfreeze[key].store)
    if task == "detection":
        from icebox.pipeline.unfreezing.dense.detection import DetectionJob

        return DetectionJob(config, key)
    if task == "segmentation":
        from icebox.pipeline.unfreezing.dense.segmentation import SegmentationJob

        return SegmentationJob(config, key)
    return FineTuningJob(config, key)

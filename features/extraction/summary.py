"""The summary of an extraction as lines of text."""

from collections.abc import Iterator

from icebox.features.abc.backbone import Backbone
from icebox.features.extraction.extract import ExtractionSummary


def lines(
    extracted: ExtractionSummary,
    backbone: Backbone,
    *,
    name: str,
    views: int,
    siamese: bool,
    stored: str,
    seconds: float,
) -> Iterator[str]:
    """Yield truncated and unknown texts, passes that pairs saved, and last the counts and where the time went.

    `name` is the backbone's, `views` how many there are of each item, `stored` the number format on disk.
    """
    items, passed = extracted.items, extracted.passed
    if extracted.truncated:
        yield f"{extracted.truncated:,} of {passed:,} are longer than {name} takes; the rest was cut off"
    if extracted.unknown:
        yield f"{extracted.unknown:,} of {passed:,} are mostly unknown to {name}; is it of this language?"
    if siamese:
        texts, distinct = views * items, extracted.distinct
        yield f"{items:,} pairs hold {texts:,} texts, {distinct:,} distinct: {texts - distinct:,} passes saved"
    in_views = f" in {views} views" if views > 1 else ""
    runtime = f" by {backbone.spec['runtime']}" if "runtime" in backbone.spec else ""
    compiled = ", compiled" if extracted.compiled and not runtime else ""
    spent = extracted.timings
    yield (
        f"{items:,} items{in_views}, {passed:,} distinct ones passed through {name} "
        f"in {seconds:.1f} s ({passed / seconds:,.0f} items/s); {len(extracted.skipped)} skipped; "
        f"{backbone.spec['precision']}{runtime}{compiled}, stored as {stored}; "
        f"waited for decode {spent.waiting / seconds:.0%}, forward {spent.forward / seconds:.0%}, "
        f"waited for write {spent.writing / seconds:.0%}"
    )

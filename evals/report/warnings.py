"""Warnings about a report's numbers, to be read before they are compared or cited."""

from collections.abc import Iterator, Mapping
from typing import Any

CONTAMINATION = {
    "reasonseg": "ReasonSeg's questions and masks are public since 2023, its images (OpenImages, "
    "ScanNet) since before that",
    "refcoco": "its images are COCO train2014's and its expressions public since 2016; both are "
    "in the training data of many MLLMs, and COCO is in that of many segmenters",
    "grefcoco": "its images are COCO train2014's, and its expressions public since 2023",
    "saco-gold": "its images come from sources that SAM 3 was trained on, too (MetaCLIP, SA-1B); "
    "the annotations are public since November 2025",
    "saco-silver": "its images come from public datasets whose other parts SAM 3 was trained on; "
    "the annotations are public since November 2025",
    "omnilabel": "its images (COCO, Objects365, OpenImages) and its texts are public since 2023",
    "counting": "CountBench's images and captions are LAION-400M's, PixMo-Count's images the "
    "web's, and both are public",
    "scenes": "the shipped segmenter tiny was trained on scenes of the same kind and other seeds",
}
"""Since when each benchmark is public, so that models may have been trained on it."""

REFERRING = ("refcoco", "refcoco+", "refcocog", "refcocog-google")


def warnings(content: Mapping[str, Any]) -> list[str]:
    """Makes the warnings from the other parts of a report, the most important first."""
    return [
        *(line for run in content["runs"] for line in _of_run(run)),
        *_of_repeats(content["runs"]),
        *dict.fromkeys(run["note"] for run in content["runs"] if run["note"]),
        *_of_differences(content["differences"]),
        *_of_published(content["published"]),
        _of_contamination(content["benchmark"]),
    ]


def _of_run(run: Mapping[str, Any]) -> Iterator[str]:
    config, metrics, name = run["config"], run["metrics"], run["name"]
    if run["missing"]:
        yield f"{name}: {run['missing']} rows are still missing; the numbers are of the others."
    part = [f"{word} {config[word]}" for word in ("limit", "shard") if config.get(word) is not None]
    if part:
        yield f"{name} is only a part of its set ({', '.join(part)})."
    failed = run["failures"].get("error", 0)
    if failed:
        yield (
            f"{name}: {failed} of {metrics['n']} rows ended in an error and count as answered with "
            "nothing; ask them again with --retry-failed."
        )
    if metrics["unable"]:
        yield (
            f"{name}: {metrics['unable']} of {metrics['n']} rows could not be answered (unable) "
            "and count as an empty prediction, which is right for a query without a target."
        )
    if run["problems"]:
        yield f"{name}: {run['problems']} broken records of the data are left out (--skip-bad)."
    if run["resumed"]:
        yield f"{name} was resumed with other code or another setup."
    if "cost" not in run["usage"]:
        yield f"{name}: its cost is not known."


def _of_repeats(runs: list[Mapping[str, Any]]) -> Iterator[str]:
    once = [run["name"] for run in runs if not run["repeats"]]
    models = any(run["config"].get("planner") not in (None, "none", "offline") for run in runs)
    if once and models:
        yield (
            "Intervals are over the samples of one run; they do not include how much the same "
            "models vary from run to run (--repeats)."
        )
    if len(once) < len(runs):
        yield (
            "Of repeated runs the numbers are over all rows, their intervals over samples (all "
            "repeats of one are drawn together), and the spread over runs stands apart."
        )


def _of_differences(differences: list[Mapping[str, Any]]) -> Iterator[str]:
    if len(differences) > 1:
        yield (
            f"{len(differences)} comparisons with the first run: p (Holm) is corrected for them, "
            "metric by metric (Holm 1979), not for looking at several metrics."
        )


def _of_published(published: list[Mapping[str, Any]]) -> Iterator[str]:
    if published:
        yield (
            "Published rows are whole splits, as their sources print them; only the protocol that "
            "a row names is known."
        )
    differing = [row for row in published if "differs" in row]
    yield from dict.fromkeys(
        f"{row['system']}: sources differ, {row['differs']}." for row in differing
    )


def _of_contamination(benchmark: str) -> str:
    known = CONTAMINATION.get("refcoco" if benchmark in REFERRING else benchmark)
    reason = f": {known}" if known else ""
    return f"Whether a model was trained on these samples is not known here{reason}."

"""`sam3-agent segment`: concept phrases to masks, without a planner."""

import time
from typing import Annotated, Any

import typer

from sam3_agent import load
from sam3_agent.answer import Answer
from sam3_agent.commands.console import (
    ImageArgument,
    JsonOption,
    MegapixelsOption,
    OutOption,
    SegmenterOption,
    deliver,
    or_exit,
    say_models,
)
from sam3_agent.images import MAX_MEGAPIXELS, load_image
from sam3_agent.scene import Scene
from sam3_agent.segmenter import Selection
from sam3_agent.usage import Usage


def segment(
    image: ImageArgument,
    phrases: Annotated[
        list[str], typer.Argument(metavar="PHRASE...", help="Concepts, such as 'red car' dog.")
    ],
    segmenter: SegmenterOption = None,
    threshold: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="Least score of a mask [the segmenter's: 0.5]."),
    ] = None,
    out: OutOption = None,
    as_json: JsonOption = False,
    max_megapixels: MegapixelsOption = MAX_MEGAPIXELS,
) -> None:
    """Find every instance of each concept, without a planner."""

    def run() -> tuple[Answer, dict[str, Any]]:
        began = time.perf_counter()
        pixels = load_image(image, max_megapixels=max_megapixels)
        eye = load.segmenter(segmenter)
        say_models(None, eye.name)
        scene = Scene(pixels, eye)
        findings = scene.find(phrases, selection=Selection(threshold))
        numbers = tuple(dict.fromkeys(n for finding in findings for n in finding.numbers))
        answer = Answer(
            query=", ".join(phrases),
            text="; ".join(f"{f.phrase}: {len(f.numbers)}" for f in findings),
            status="answered" if numbers else "no_target",
            masks=scene.select(numbers),
            numbers=numbers,
            usage=Usage(
                seconds=time.perf_counter() - began, segmenter_seconds=scene.segmenter_seconds
            ),
            messages=(),
            planner="none",
            segmenter=eye.name,
            image=pixels,
        )
        return answer, {"presence": {f.phrase: round(f.presence, 4) for f in findings}}

    answer, extra = or_exit(run)
    deliver(answer, out, as_json, extra)

"""`sam3-agent segment`: phrases, exemplars and clicks to masks, without a planner."""

import time
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from sam3_agent import registry
from sam3_agent.answer import Answer, Status
from sam3_agent.commands.console import (
    AnyImageOption,
    ImageArgument,
    JsonOption,
    MegapixelsOption,
    OutOption,
    SegmenterOption,
    deliver,
    or_exit,
    say_models,
)
from sam3_agent.errors import InputError
from sam3_agent.findings import Finding
from sam3_agent.images import MAX_MEGAPIXELS, load_image
from sam3_agent.scene import Scene
from sam3_agent.segmenter import (
    COUNTING,
    ConceptPrompt,
    ObjectPrompt,
    Selection,
    outside_domain,
)
from sam3_agent.usage import Usage
from sam3_agent.vocabulary import unknown_part


def segment(
    image: ImageArgument,
    phrases: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PHRASE]...", help="Concepts, such as 'red car' dog."),
    ] = None,
    exemplar: Annotated[
        list[str] | None,
        typer.Option(
            metavar="±X0,Y0,X1,Y1",
            help="A box around an example (+) or a counterexample (-), for every phrase.",
        ),
    ] = None,
    point: Annotated[
        list[str] | None,
        typer.Option(metavar="±X,Y", help="A point on (+) or beside (-) one object."),
    ] = None,
    region: Annotated[
        str | None,
        typer.Option(metavar="X0,Y0,X1,Y1", help="Look only there, at full resolution."),
    ] = None,
    tile: Annotated[
        bool, typer.Option("--tile", help="Look at overlapping tiles: many small things.")
    ] = False,
    count: Annotated[
        bool, typer.Option("--count", help="SAM 3's counting recipe: presence off, IoM 0.5.")
    ] = False,
    segmenter: SegmenterOption = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            min=0.0, max=1.0, help="Least score of a mask (default: the segmenter's, 0.5)."
        ),
    ] = None,
    out: OutOption = None,
    as_json: JsonOption = False,
    max_megapixels: MegapixelsOption = MAX_MEGAPIXELS,
    any_image: AnyImageOption = False,
) -> None:
    """Find every instance of concepts, or the object at a point; no planner."""

    def run() -> tuple[Answer, dict[str, Any]]:
        began = time.perf_counter()
        prompts = _concept_prompts(phrases or [], exemplar or [])
        clicks = _object_prompt(point or [])
        if not prompts and clicks is None:
            raise InputError("nothing to find: give a phrase, an --exemplar or a --point")
        if count and threshold is not None:
            raise InputError("--count has its own threshold; leave --threshold out")
        window = None if region is None else _numbers("--region", region, 4)
        pixels = load_image(image, max_megapixels=max_megapixels)
        eye = registry.segmenter(segmenter)
        say_models(None, eye.name)
        scene = Scene(pixels, eye)
        why = None if any_image else outside_domain(eye, pixels)
        if why is not None:
            asked = [*(prompt.label for prompt in prompts), *(["this object"] if clicks else [])]
            return _answer(scene, asked, (), why, "unable", eye.name, began), {"presence": {}}
        selection = COUNTING if count else Selection(threshold)
        findings = [
            _checked(scene, finding, prompt)
            for prompt, finding in zip(
                prompts,
                scene.segment(prompts, selection=selection, region=window, tiled=tile),
                strict=True,
            )
        ]
        if clicks is not None:
            findings.append(scene.segment_at(clicks))
        numbers = tuple(dict.fromkeys(n for finding in findings for n in finding.numbers))
        text = "; ".join(_line(finding, eye.name) for finding in findings)
        asked = [finding.phrase for finding in findings]
        unknown = any(finding.unknown for finding in findings)
        status: Status = "answered" if numbers else "unable" if unknown else "no_target"
        answer = _answer(scene, asked, numbers, text, status, eye.name, began)
        return answer, {"presence": {f.phrase: round(f.presence, 4) for f in findings}}

    answer, extra = or_exit(run)
    deliver(answer, out, as_json, extra)


def _answer(
    scene: Scene,
    asked: Sequence[str],
    numbers: tuple[int, ...],
    text: str,
    status: Status,
    segmenter: str,
    began: float,
) -> Answer:
    seconds = time.perf_counter() - began
    return Answer(
        query=", ".join(asked),
        text=text,
        status=status,
        masks=scene.select(numbers),
        numbers=numbers,
        usage=Usage(seconds=seconds, segmenter_seconds=scene.segmenter_seconds),
        messages=(),
        planner="none",
        segmenter=segmenter,
        image=scene.image,
        mentions=(),
        context_masks=scene.select(()),
        context_numbers=(),
    )


def _checked(scene: Scene, finding: Finding, prompt: ConceptPrompt) -> Finding:
    """What a prompt found; nothing for a phrase outside the vocabulary."""
    unknown = "" if prompt.positive else unknown_part(prompt.phrase, scene.vocabulary)
    return Finding(finding.phrase, 0.0, (), unknown=unknown) if unknown else finding


def _line(finding: Finding, segmenter: str) -> str:
    if finding.unknown:
        return f'{finding.phrase}: not looked for, {segmenter} does not know "{finding.unknown}"'
    return f"{finding.phrase}: {len(finding.numbers)}"


def _concept_prompts(phrases: Sequence[str], exemplars: Sequence[str]) -> list[ConceptPrompt]:
    """One prompt to a phrase, each with all exemplars; one without a phrase if there is none."""
    boxes = [(_sign("--exemplar", one), _numbers("--exemplar", one, 4)) for one in exemplars]
    positive = tuple(box for inside, box in boxes if inside)
    negative = tuple(box for inside, box in boxes if not inside)
    asked = phrases or ([""] if boxes else [])
    return [ConceptPrompt(phrase, positive, negative) for phrase in asked]


def _object_prompt(points: Sequence[str]) -> ObjectPrompt | None:
    clicks = [(_sign("--point", one), _numbers("--point", one, 2)) for one in points]
    if not clicks:
        return None
    return ObjectPrompt(
        inside=tuple(click for inside, click in clicks if inside),
        outside=tuple(click for inside, click in clicks if not inside),
    )


def _sign(option: str, text: str) -> bool:
    if text[:1] not in ("+", "-"):
        raise InputError(f"{option} {text!r} begins with neither + (is one) nor - (is none)")
    return text[0] == "+"


def _numbers(option: str, text: str, count: int) -> Any:
    """`count` numbers; a sign in front is the example's, not the first number's."""
    try:
        values = tuple(float(part) for part in text.removeprefix("+").removeprefix("-").split(","))
    except ValueError:
        values = ()
    if len(values) != count:
        wanted = "x0,y0,x1,y1" if count == 4 else "x,y"
        raise InputError(f"{option} {text!r} is not {wanted} in pixels")
    return values

"""`sam3-agent segment`: phrases, exemplars and clicks to masks, without a planner."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from sam3_agent import registry
from sam3_agent.answer import Answer, Status
from sam3_agent.commands.options import (
    ImageArgument,
    ImageOptions,
    OutputOptions,
    SegmenterOption,
    command,
)
from sam3_agent.commands.output import print_answer, print_models
from sam3_agent.errors import InputError
from sam3_agent.findings import Finding
from sam3_agent.geometry import Box
from sam3_agent.images import Pixels
from sam3_agent.scene import Scene, checked_region
from sam3_agent.segmenter import (
    COUNTING,
    ConceptPrompt,
    ObjectPrompt,
    Selection,
    checked_concept,
    checked_object,
    outside_domain,
)
from sam3_agent.serialization import SCORE_DIGITS
from sam3_agent.usage import Usage
from sam3_agent.vocabulary import unknown_part


@dataclass(frozen=True)
class PromptOptions:
    """What is looked for besides phrases, and where; raises InputError for what cannot be."""

    exemplar: Annotated[
        list[str] | None,
        typer.Option(
            metavar="±X0,Y0,X1,Y1",
            help="A box around an example (+) or a counterexample (-), for every phrase.",
        ),
    ] = None
    point: Annotated[
        list[str] | None,
        typer.Option(metavar="±X,Y", help="A point on (+) or beside (-) one object."),
    ] = None
    region: Annotated[
        str | None,
        typer.Option(metavar="X0,Y0,X1,Y1", help="Look only there, at full resolution."),
    ] = None
    tile: Annotated[
        bool,
        typer.Option("--tile", help="Look at overlapping tiles, for many small objects."),
    ] = False
    count: Annotated[
        bool, typer.Option("--count", help="SAM 3's counting recipe: presence off, IoM 0.5.")
    ] = False
    threshold: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Least score of a mask. Default: the segmenter's, 0.5 (0.3 of open:...).",
        ),
    ] = None

    def __post_init__(self) -> None:
        if self.count and self.threshold is not None:
            raise InputError("--count has its own threshold; leave --threshold out")

    @property
    def selection(self) -> Selection:
        """Which masks are kept."""
        return COUNTING if self.count else Selection(self.threshold)

    def window(self) -> Box | None:
        """The region in pixels; None for the whole image."""
        if self.region is None:
            return None
        box: Box = _numbers("--region", self.region, 4)
        return box

    def concepts(self, phrases: Sequence[str]) -> list[ConceptPrompt]:
        """One prompt per phrase, each with all exemplars; without phrases one of them alone."""
        boxes = [_signed("--exemplar", one, 4) for one in self.exemplar or []]
        positive = tuple(box for inside, box in boxes if inside)
        negative = tuple(box for inside, box in boxes if not inside)
        asked = phrases or ([""] if boxes else [])
        return [ConceptPrompt(phrase, positive, negative) for phrase in asked]

    def clicks(self) -> ObjectPrompt | None:
        """The points as a prompt; None without any."""
        clicks = [_signed("--point", one, 2) for one in self.point or []]
        if not clicks:
            return None
        return ObjectPrompt(
            inside=tuple(click for inside, click in clicks if inside),
            outside=tuple(click for inside, click in clicks if not inside),
        )


@command
def segment(
    image: ImageArgument,
    phrases: Annotated[
        list[str] | None,
        typer.Argument(help="Concepts, such as 'red car' dog."),
    ] = None,
    *,
    options: PromptOptions,
    images: ImageOptions,
    output: OutputOptions,
    segmenter: SegmenterOption = None,
) -> None:
    """Find every instance of concepts, or the object at a point; no planner."""
    began = time.perf_counter()
    prompts, clicks, window = options.concepts(phrases or []), options.clicks(), options.window()
    if not prompts and clicks is None:
        raise InputError("nothing to find: give a phrase, an --exemplar or a --point")
    pixels = images.load(image)
    prompts = _checked_prompts(prompts, clicks, window, pixels)
    for given, kind in ((options.exemplar, "exemplars"), (options.point, "clicks")):
        registry.check_segmenter(segmenter, takes=kind if given else None)
    output.prepare()
    model = registry.segmenter(segmenter)
    print_models(None, model.name)
    scene = Scene(pixels, model)
    why = None if images.any_image else outside_domain(model, pixels)
    if why is None:
        findings = _find(scene, prompts, clicks, options, window)
        text = "; ".join(_line(finding, model.name) for finding in findings)
    else:
        labels = [*(prompt.label for prompt in prompts), *(["this object"] if clicks else [])]
        findings = [Finding(label, 0.0, (), unknown=label) for label in labels]
        text = why
    answer = _answer(scene, findings, text, model.name, began)
    presence = {} if why else {one.phrase: round(one.presence, SCORE_DIGITS) for one in findings}
    print_answer(answer, output.out, output.as_json, {"presence": presence})


def _checked_prompts(
    prompts: Sequence[ConceptPrompt],
    clicks: ObjectPrompt | None,
    window: Box | None,
    image: Pixels,
) -> list[ConceptPrompt]:
    """The prompts as a segmenter takes them; PromptError, before one is loaded, for others."""
    size = image.shape[0], image.shape[1]
    if clicks is not None:
        checked_object(clicks, size)
    if window is not None:
        checked_region(window, size)
    return [checked_concept(prompt, size) for prompt in prompts]


def _find(
    scene: Scene,
    prompts: Sequence[ConceptPrompt],
    clicks: ObjectPrompt | None,
    options: PromptOptions,
    window: Box | None,
) -> list[Finding]:
    """What each prompt finds, and the clicks last; nothing for a phrase that is not known."""
    found = scene.segment(prompts, selection=options.selection, region=window, tiled=options.tile)
    findings = []
    for prompt, finding in zip(prompts, found, strict=True):
        unknown = "" if prompt.positive else unknown_part(prompt.phrase, scene.vocabulary)
        known = finding if not unknown else Finding(finding.phrase, 0.0, (), unknown=unknown)
        findings.append(known)
    return findings if clicks is None else [*findings, scene.segment_at(clicks)]


def _answer(
    scene: Scene, findings: Sequence[Finding], text: str, segmenter: str, began: float
) -> Answer:
    """The findings as an answer; began: when the work did, by `time.perf_counter`."""
    numbers = tuple(dict.fromkeys(n for finding in findings for n in finding.numbers))
    unknown = any(finding.unknown for finding in findings)
    status: Status = "answered" if numbers else "unable" if unknown else "no_target"
    seconds = time.perf_counter() - began
    return Answer(
        query=", ".join(finding.phrase for finding in findings),
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


def _line(finding: Finding, segmenter: str) -> str:
    if finding.unknown:
        return f'{finding.phrase}: not looked for, {segmenter} does not know "{finding.unknown}"'
    return f"{finding.phrase}: {len(finding.numbers)}"


def _signed(option: str, text: str, count: int) -> tuple[bool, Any]:
    """Whether an example is positive (+) or negative (-), and its numbers."""
    if text[:1] not in ("+", "-"):
        raise InputError(
            f"{option} {text!r} has no sign: write + before what is the object, - before what is "
            f"not, such as +{'20,30' if count == 2 else '20,30,90,80'}"
        )
    return text[0] == "+", _numbers(option, text[1:], count)


def _numbers(option: str, text: str, count: int) -> Any:
    """`count` numbers of an option."""
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) != count:
        wanted = "x0,y0,x1,y1" if count == 4 else "x,y"
        raise InputError(f"{option} {text!r} is not {wanted} in pixels")
    return values

"""Names into objects: the one module that knows where planners, segmenters and tools live."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sam3_agent.config import chosen
from sam3_agent.errors import InputError
from sam3_agent.images import Pixels
from sam3_agent.masks import Masks
from sam3_agent.planner import Planner, sees
from sam3_agent.review import Reviewer
from sam3_agent.segmenter import Segmenter, prompts_of
from sam3_agent.tool import Tool

if TYPE_CHECKING:
    from sam3_agent.agent import Agent
    from sam3_agent.model.recording import Recording


def planner(name: str | None = None, **options: Any) -> Planner:
    """The planner of this name; None means the user's default (see `config`).

    Names: `offline`, `openai:MODEL`, `gemini:MODEL`. `options` go to the planner's constructor.
    Raises InputError for another name, PlannerError when a key or package is missing.
    """
    choice = chosen("planner", name)
    where = "" if name else f" (from {choice.source})"
    name = choice.value or ""
    provider, _, model = name.partition(":")
    if name == "offline":
        from sam3_agent.model.offline.planner import OfflinePlanner

        return OfflinePlanner()
    if provider == "openai" and model:
        from sam3_agent.model.providers.openai_chat import OpenAIPlanner

        return OpenAIPlanner(model, **{"base_url": chosen("base_url").value, **options})
    if provider == "gemini" and model:
        from sam3_agent.model.providers.gemini import GeminiPlanner

        return GeminiPlanner(model, **options)
    raise InputError(
        f"there is no planner {name!r}{where}; choose offline, openai:MODEL or gemini:MODEL "
        "(such as gemini:gemini-3.8-flash)"
    )


def verifier(name: str, **options: Any) -> Planner:
    """The planner of this name, to check masks; InputError for one that sees no pictures."""
    found = planner(name, **options)
    if not sees(found):
        raise InputError(
            f"{found.name} sees no pictures, so it cannot verify; choose openai:MODEL, "
            "gemini:MODEL or none"
        )
    return found


def recording(agent: "Agent", folder: Path, image: Pixels, query: str) -> "Recording":
    """Let everything that an agent's planner and verifier say be kept; `finish` with the answer."""
    from sam3_agent.model.recording import Recording, RecordingPlanner

    kept = Recording(
        folder,
        image,
        {
            "query": query,
            "planner": agent.planner.name,
            "verifier": agent.verifier.name if agent.verifier else "none",
            "segmenter": agent.segmenter.name,
            "effort": asdict(agent.effort),
            "budget": asdict(agent.budget),
            "check_domain": agent.check_domain,
        },
    )
    if agent.ask_person is not None:
        agent.ask_person = kept.listening(agent.ask_person)
    agent.planner = RecordingPlanner(agent.planner, kept)
    if agent.verifier is not None:
        agent.verifier = RecordingPlanner(agent.verifier, kept)
    return kept


def replay(folder: Path, segmenter: Segmenter | None = None) -> "tuple[Agent, Pixels, str]":
    """The agent, image and question of a recording; asking them needs no network for the models.

    segmenter: None for the one whose name was recorded. Raises InputError when the folder holds no
    recording.
    """
    from sam3_agent.agent import Agent
    from sam3_agent.images import load_image
    from sam3_agent.model.recording import Replay, ReplayPlanner

    kept = Replay(folder)
    verifier = kept.verifier
    agent = Agent(
        ReplayPlanner(kept.planner, kept),
        segmenter or kept.segmenter,
        ask_person=kept.ask_person,
        verifier="none" if verifier == "none" else ReplayPlanner(verifier, kept),
        effort=kept.effort,
        budget=kept.budget,
        check_domain=kept.check_domain,
    )
    return agent, load_image(folder / "image.png", max_megapixels=float("inf")), kept.query


def segmenter(name: str | None = None) -> Segmenter:
    """The segmenter of this name; None means the user's default (see `config`).

    `tiny` is the shipped checkpoint; `open:tiny`, `open:base` and `open:DETECTOR+SAM2` have open
    weights; any other name is a folder or hub id of a SAM 3 checkpoint. Raises SegmenterError when
    it cannot be loaded.
    """
    name = chosen("segmenter", name).value or ""
    if name.startswith("open:"):
        from sam3_agent.model.open_vocabulary import OpenVocabularySegmenter

        return OpenVocabularySegmenter(name)
    from sam3_agent.model.sam3 import Sam3Segmenter

    # a folder from an environment variable or a client's settings has seen no shell
    return Sam3Segmenter(str(Path(name).expanduser()) if name.startswith("~") else name)


def reviewer(model: Planner) -> Reviewer:
    """Independent checks by a model."""
    from sam3_agent.tools.judge import Judge

    return Judge(model, prompt)


def ask_person_tool(ask: Callable[[str], str]) -> Tool:
    """The tool with which a planner asks the person, for one run."""
    from sam3_agent.tools import ask_user

    return ask_user.ask_person_tool(ask)


def atomic_concept(query: str) -> tuple[str, bool] | None:
    """The concept phrase that an English question is itself, and whether it asks for only one."""
    from sam3_agent.model.offline.atomic_concept import atomic_concept

    return atomic_concept(query)


def tools(segmenter: Segmenter | None = None) -> list[Tool]:
    """The tools that a planner gets unless others are given: those that the segmenter can serve."""
    from sam3_agent.tools import concepts, crops, editing, final_answer, measurement

    offered = prompts_of(segmenter) if segmenter else {"exemplars", "clicks"}
    by_example = [_tool(concepts.segment_like)] if "exemplars" in offered else []
    by_place = [_tool(concepts.segment_at)] if "clicks" in offered else []
    return [
        _tool(concepts.segment, concepts.find_together),
        *by_example,
        *by_place,
        _tool(crops.look),
        _tool(measurement.measure),
        _tool(editing.edit),
        _tool(final_answer.answer),
    ]


# a model of arguments takes a millisecond to make, and the functions are the same for every agent
_tool = functools.cache(Tool.from_function)


def prompt(name: str, **values: object) -> str:
    """The prompt text of this name."""
    from sam3_agent.prompts import fill

    return fill(name, **values)


def prompt_texts() -> dict[str, str]:
    """Every prompt text by its name, unfilled."""
    from sam3_agent.prompts import texts

    return texts()


def system_prompt() -> str:
    """The planner's instructions."""
    return prompt("planner")


def draw(image: Pixels, masks: Masks, numbers: Sequence[int]) -> Pixels:
    """The image with numbered masks on it, (H, W, 3) uint8."""
    from sam3_agent.tools.overlay import draw_masks

    return draw_masks(image, masks, numbers)


def view(image: Pixels, masks: Masks, numbers: Sequence[int]) -> Pixels:
    """`draw`, in a size that suits a planner."""
    from sam3_agent.tools import overlay

    return overlay.view(image, masks, numbers)

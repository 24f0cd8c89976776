"""Turns names into objects: planners, segmenters, tools, benchmarks, prompts.

A name is built-in (a line in a table here), an entry point of an installed package (groups
`sam3_agent.planners`, `sam3_agent.segmenters`, `sam3_agent.tools`, `sam3_agent.benchmarks`), or
`package.module:Class`; the first that fits counts, so that `openai:MODEL` never is a module.
"""

import functools
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sam3_agent import entry_points
from sam3_agent.config import VARIABLES, chosen
from sam3_agent.entry_points import absence
from sam3_agent.errors import InputError, SegmenterError
from sam3_agent.local_files import home_expanded
from sam3_agent.planner import Planner, Provider, checked_planner, provider_of, sees
from sam3_agent.prompts import fill as prompt
from sam3_agent.prompts import texts as prompt_texts
from sam3_agent.review import Reviewer
from sam3_agent.segmenter import (
    Segmenter,
    SegmenterDefaults,
    checked_segmenter,
    prompts_of,
    threshold_of,
)
from sam3_agent.tool import Tool, checked_tool, tools_by_name
from sam3_agent.tools import concepts, crops, editing, final_answer, measurement
from sam3_agent.tools.ask_user import ask_person_tool

__all__ = ["ask_person_tool", "prompt", "prompt_texts"]

PLANNERS = {
    "offline": "sam3_agent.model.offline.planner:OfflinePlanner",
    "openai:MODEL": "sam3_agent.model.providers.openai_chat:OpenAIPlanner",
    "gemini:MODEL": "sam3_agent.model.providers.gemini:GeminiPlanner",
}
"""How a planner is named, and its class; what follows the colon is the class's first argument."""

SEGMENTERS = {
    "tiny": "sam3_agent.model.sam3:Sam3Segmenter",
    "open:NAME": "sam3_agent.model.open_vocabulary:OpenVocabularySegmenter",
}
"""The same for segmenters; any other name is a checkpoint of the first class."""

CHECKPOINTS = ("tiny", "open:tiny", "open:base", "facebook/sam3")
"""Segmenters that are suggested for a wrong name."""

HUB_ID = re.compile(r"\w[\w.-]*/[\w.-]+")
"""What a model of the Hugging Face hub is named like; no path such as ./folder."""

BENCHMARKS = {
    "scenes": "sam3_agent.evals.benchmarks.scenes:read",
    "reasonseg": "sam3_agent.evals.benchmarks.reasonseg:read",
    "refcoco": "sam3_agent.evals.benchmarks.refcoco:read",
    "refcoco+": "sam3_agent.evals.benchmarks.refcoco:read_plus",
    "refcocog": "sam3_agent.evals.benchmarks.refcoco:read_umd",
    "refcocog-google": "sam3_agent.evals.benchmarks.refcoco:read_google",
    "grefcoco": "sam3_agent.evals.benchmarks.grefcoco:read",
    "saco-gold": "sam3_agent.evals.benchmarks.saco:read",
    "saco-silver": "sam3_agent.evals.benchmarks.saco:read_silver",
    "omnilabel": "sam3_agent.evals.benchmarks.omnilabel:read",
    "counting": "sam3_agent.evals.benchmarks.counting:read",
    "jsonl": "sam3_agent.evals.benchmarks.jsonl:read",
}
"""Names to functions `read(data, split, **options) -> Benchmark`."""

GROUPS = ("planners", "segmenters", "tools", "benchmarks")


LIBRARIES = ("torch", "torchvision", "transformers", "pycocotools")
"""The packages, beside those of the providers, whose versions a run records."""


def planner(name: str | None = None, **options: Any) -> Planner:
    """The planner of this name; None means the user's default (see `config`).

    options: arguments of the planner's class. Raises InputError for a wrong name, PlannerError when
    a key or package is missing.
    """
    name, factory, arguments = _planner_class(name)
    provider = provider_of(factory)
    if provider and provider.base_url_variable == VARIABLES["base_url"]:
        options = {"base_url": chosen("base_url").value, **options}
    if name == "offline":
        options = {}  # they are those of a model
    made = entry_points.make(f"the planner {name!r}", factory, *arguments, **options)
    return checked_planner(made)


def check_planner(name: str | None = None) -> None:
    """Raises InputError for a name that no planner has; needs no key and no package."""
    _planner_class(name)


def _planner_class(name: str | None) -> tuple[str, Any, tuple[str, ...]]:
    """The name, class and arguments of a planner; raises InputError for a wrong name."""
    choice = chosen("planner", name)
    name = choice.value or ""
    factory, arguments = _found("planners", name, PLANNERS)
    if factory is None:
        source = "" if choice.source == "given" else f" (from {choice.source})"
        known = [f"{one.name}:{one.example_model}" for one in providers()]
        plugins = entry_points.installed("planners")
        near = absence(name, ["offline", *known, *plugins])
        forms = planner_forms(plugins)
        raise InputError(f"there is no planner {name!r}{source}{near}; choose {forms}")
    provider = provider_of(factory)
    if provider and not any(arguments):
        example = f"{provider.name}:{provider.example_model}"
        raise InputError(f"the planner {name!r} needs a model; give one, such as {example}")
    return name, factory, arguments


def verifier(name: str, **options: Any) -> Planner:
    """The planner of this name, to check masks; InputError for one that sees no pictures."""
    found = planner(name, **options)
    if not sees(found):
        models = " or ".join(form for form in PLANNERS if ":" in form)
        raise InputError(
            f"{found.name} sees no pictures, so it cannot verify; choose {models}, or none"
        )
    return found


def segmenter(name: str | None = None) -> Segmenter:
    """The segmenter of this name; None means the user's default (see `config`).

    `tiny` is the shipped checkpoint; `open:tiny`, `open:base` and `open:DETECTOR+SAM2` have open
    weights; a name that is in no table and no package is a folder or hub id of a SAM 3 checkpoint.
    Raises InputError for a name that no segmenter has, SegmenterError when it cannot be loaded.
    """
    name = _segmenter_name(name)
    factory, arguments = _segmenter_class(name)
    if factory is None:
        return _checkpoint(name)
    made = entry_points.make(f"the segmenter {name!r}", factory, *arguments)
    return checked_segmenter(made)


def check_segmenter(name: str | None = None, *, takes: str | None = None) -> None:
    """Raises InputError for a name that no segmenter has; loads no model.

    takes: "exemplars" or "clicks"; refuses a class that declares to take no such prompts.
    """
    name = _segmenter_name(name)
    taken = getattr(_segmenter_class(name)[0], "prompts", None)
    if takes is not None and isinstance(taken, frozenset) and takes not in taken:
        raise InputError(f"the segmenter {name} takes no {takes}; choose another --segmenter")


def is_checkpoint(name: str) -> bool:
    """Whether a segmenter's name stands for weights, and not for a class of a plug-in."""
    return name.partition(":")[0] in ("tiny", "open") or _segmenter_class(name)[0] is None


def _segmenter_name(name: str | None) -> str:
    """The name with the user's default for None; raises InputError for one that cannot exist."""
    choice = chosen("segmenter", name)
    name = choice.value or ""
    if name.startswith("~"):  # an environment variable or a client's settings have seen no shell
        name = str(home_expanded(name))
    known = _segmenter_class(name)[0] is not None or os.path.exists(name)
    if not known and not HUB_ID.fullmatch(name):
        source = "" if choice.source == "given" else f" (from {choice.source})"
        near, forms = _near_segmenter(name), segmenter_forms(entry_points.installed("segmenters"))
        raise InputError(f"there is no segmenter {name!r}{source}{near}; choose {forms}")
    return name


def _segmenter_class(name: str) -> tuple[Any, tuple[str, ...]]:
    """The class that a segmenter's name stands for, None for a checkpoint, and its argument."""
    if ":" in name and os.path.isdir(name):
        return None, ()
    return _found("segmenters", name, SEGMENTERS)


def _checkpoint(name: str) -> Segmenter:
    """The segmenter of a SAM 3 checkpoint; SegmenterError, with the nearest name, for none."""
    try:
        made: Segmenter = entry_points.load(SEGMENTERS["tiny"])(name)
    except SegmenterError as error:
        if str(error).startswith("there is no segmenter"):
            raise SegmenterError(f"{error}{_near_segmenter(name)}") from error
        raise
    return made


def _near_segmenter(name: str) -> str:
    return absence(name, [*CHECKPOINTS, *entry_points.installed("segmenters")])


def benchmark_reader(name: str) -> Callable[..., Any]:
    """The function `read(data, split, **options)` of a benchmark; InputError for a wrong name."""
    reader, arguments = _found("benchmarks", name, BENCHMARKS)
    if reader is None or arguments:
        known = [*BENCHMARKS, *entry_points.installed("benchmarks")]
        near = absence(name, known)
        raise InputError(f"there is no benchmark {name!r}{near}; choose one of {', '.join(known)}")
    found: Callable[..., Any] = reader
    return found


def tools(segmenter: Segmenter | None = None) -> list[Tool]:
    """The tools that a planner gets unless others are given: those that the segmenter can serve.

    Those of installed packages come after the built-in ones.
    """
    built_in = [
        _segment_tool(threshold_of(segmenter) if segmenter else SegmenterDefaults.threshold),
        _tool(concepts.segment_like, needs="exemplars"),
        _tool(concepts.segment_at, needs="clicks"),
        _tool(crops.look),
        _tool(measurement.measure),
        _tool(editing.edit),
        _tool(final_answer.answer),
    ]
    names = entry_points.installed("tools")
    others = [checked_tool(entry_points.find("tools", name, {})) for name in names]
    offered = tools_by_name([*built_in, *others]).values()
    taken = None if segmenter is None else prompts_of(segmenter)
    return [tool for tool in offered if not tool.needs or taken is None or tool.needs in taken]


# a model of arguments takes a millisecond to make, and the functions are the same for every agent
_tool = functools.cache(Tool.from_function)
_segment_tool = functools.cache(concepts.segment_tool)


def providers() -> list[Provider]:
    """The APIs behind the built-in planners and those of installed packages."""
    named = {form.partition(":")[0]: reference for form, reference in PLANNERS.items()}
    names = [*named, *entry_points.installed("planners")]
    classes = [entry_points.find("planners", name, named) for name in names]
    return [provider for one in classes if (provider := provider_of(one)) is not None]


def recorded_packages() -> list[str]:
    """The distributions whose versions a run records: ours, libraries, providers, plug-ins."""
    own = [provider.package for provider in providers()]
    return list(dict.fromkeys(["sam3-agent", *LIBRARIES, *own, *entry_points.packages(GROUPS)]))


def planner_forms(plugins: Iterable[str] = ()) -> str:
    """How planners can be named, for help and errors: "offline, openai:MODEL, ..."."""
    return _forms([*PLANNERS, *plugins])


def segmenter_forms(plugins: Iterable[str] = ()) -> str:
    """How segmenters can be named, for help and errors."""
    return _forms([*CHECKPOINTS, *plugins, "a folder with a SAM 3 checkpoint"])


def _forms(names: Sequence[str]) -> str:
    return f"{', '.join(names)} or package.module:Class"


def _found(group: str, name: str, table: Mapping[str, str]) -> tuple[Any, tuple[str, ...]]:
    """What a name stands for (None for nothing), and what follows the colon as its argument."""
    named = {form.partition(":")[0]: reference for form, reference in table.items()}
    head, colon, rest = name.partition(":")
    if colon and head in table:  # a form without a colon
        raise InputError(f"{name!r}: nothing follows {head}; write it without the colon")
    if colon and (head in named or head in entry_points.installed(group)):
        return entry_points.find(group, head, named), (rest,)
    return entry_points.find(group, name, named), ()


def reviewer(model: Planner) -> Reviewer:
    """Independent checks by a model."""
    from sam3_agent.tools.judge import Judge  # imports pydantic, which takes long

    return Judge(model, prompt)


def atomic_concept(query: str) -> tuple[str, bool] | None:
    """The concept phrase that an English question is itself, and whether it asks for only one."""
    from sam3_agent.model.offline.atomic_concept import atomic_concept  # reads its word lists

    return atomic_concept(query)


def system_prompt() -> str:
    """The planner's instructions."""
    return prompt("planner")

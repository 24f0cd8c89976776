"""`sam3-agent doctor`: checks the environment, and that planner and segmenter run."""

import importlib.metadata
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, get_args

import numpy as np
import typer

from sam3_agent import registry
from sam3_agent.commands.options import JsonOption, PlannerOption, SegmenterOption, command
from sam3_agent.commands.output import print_json, print_stdout
from sam3_agent.config import Setting, chosen, config_path
from sam3_agent.credentials import key_problem
from sam3_agent.errors import InputError, Sam3AgentError
from sam3_agent.messages import Message
from sam3_agent.model.vocabulary import NOUNS
from sam3_agent.planner import FREE, price_of, sees
from sam3_agent.sanitize import shorten
from sam3_agent.segmenter import device_of

TINY = (
    f"tiny knows drawings of {len(NOUNS)} nouns and answers `unable` for photos; for photos take "
    "open:tiny (open weights) or facebook/sam3: sam3-agent setup"
)


@dataclass(frozen=True)
class Check:
    """One fact that was checked; `ok` None means that it is neither right nor wrong."""

    what: str
    said: str
    ok: bool | None = None


@command
def doctor(
    planner: PlannerOption = None,
    segmenter: SegmenterOption = None,
    live: Annotated[
        bool, typer.Option("--live", help="Send one small picture through the planner.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Report which planner and segmenter would run, and whether all that they need is there."""
    if planner is not None:  # a wrong name in the environment or the file is a finding
        registry.check_planner(planner)
    if segmenter is not None:
        registry.check_segmenter(segmenter)
    checks = [Check("python", platform.python_version())]
    checks += [Check(name, version(name)) for name in registry.recorded_packages()]
    checks += _variable_checks()
    checks += _settings_checks(planner, segmenter)
    checks += _segmenter_checks(segmenter)
    checks += _planner_checks(planner, live)
    fine = all(check.ok is not False for check in checks)
    if as_json:
        print_json({"ok": fine, "checks": [vars(check) for check in checks]})
    else:
        print_checks(checks)
    if not fine:
        raise typer.Exit(3)


def print_checks(checks: Sequence[Check]) -> None:
    """One line for each check."""
    marks = {True: "ok  ", False: "FAIL", None: "    "}
    for check in checks:
        print_stdout(f"{marks[check.ok]} {check.what:16} {check.said}")


def _settings_checks(planner: str | None, segmenter: str | None) -> list[Check]:
    """Where the choice of the models comes from: option, environment, configuration or default."""
    path = config_path()
    there = path is not None and path.exists()
    checks = [Check("configuration", f"{path}{'' if there else ' (no such file)'}")]
    given: dict[Setting, str | None] = {"planner": planner, "segmenter": segmenter}
    for setting in get_args(Setting):
        try:
            choice = chosen(setting, given.get(setting))
        except InputError as error:
            return [*checks, Check("configuration", str(error), False)]
        if choice.value is not None:
            checks.append(Check(f"{setting} from", f"{choice.value} ({choice.source})"))
    return checks


def _segmenter_checks(name: str | None) -> list[Check]:
    """Load the segmenter and run it on a small picture."""
    try:
        began = time.perf_counter()
        segmenter = registry.segmenter(name)
        loaded = time.perf_counter()
        segmenter.detect(segmenter.encode(np.full((64, 64, 3), 128, np.uint8)), ["dog"])
        seconds = (
            f"loaded in {loaded - began:.1f} s, one image {time.perf_counter() - loaded:.1f} s"
        )
    except Sam3AgentError as error:
        return [Check("segmenter", str(error), False)]
    ran = f"{segmenter.name} on {device_of(segmenter)}: {seconds}"
    checks = [Check("segmenter", ran, True)]
    if segmenter.name == "tiny":
        checks.append(Check("domain", TINY))
    return checks


def _planner_checks(name: str | None, live: bool) -> list[Check]:
    """Set the planner up and, when asked to, send one small picture through it."""
    try:
        planner = registry.planner(name)
    except Sam3AgentError as error:
        return [Check("planner", str(error), False)]
    price = price_of(planner)
    known = f", {price.input:g}/{price.output:g} USD per million in/out" if price else ""
    known = "" if price == FREE else known
    checks = [Check("planner", f"{planner.name}{known}", True)]
    if not live:
        return checks
    picture = np.full((64, 64, 3), (200, 30, 30), np.uint8)
    question = "Is there a red car?"
    messages = [
        Message("system", registry.system_prompt()),
        Message("user", question, pictures=(picture,)),
    ]
    try:
        saw = sees(planner)
        began = time.perf_counter()
        reply = planner.reply(messages, registry.tools())
    except Sam3AgentError as error:
        return [*checks, Check("live", str(error), False)]
    seconds = time.perf_counter() - began
    spent = f"{reply.spent.input_tokens} tokens in, {reply.spent.output_tokens} out"
    if saw and not sees(planner):
        spent += "; its server takes no pictures"
    if not reply.tool_calls:
        said = f"answered in {seconds:.1f} s ({spent}), but called no tool: "
        said += repr(shorten(reply.text, 80))
        return [*checks, Check("live", said, False)]
    called = ", ".join(call.name for call in reply.tool_calls)
    return [*checks, Check("live", f"answered in {seconds:.1f} s ({spent}), called {called}", True)]


def _variable_checks() -> list[Check]:
    """The keys and addresses of the providers, and the token of the Hugging Face hub."""
    checks = []
    for provider in registry.providers():
        checks += [_variable_check(name, is_key=True) for name in provider.key_variables]
        if provider.base_url_variable:
            checks.append(_variable_check(provider.base_url_variable, is_key=False))
    return [*checks, _variable_check("HF_TOKEN", is_key=True)]


def _variable_check(name: str, is_key: bool) -> Check:
    """Whether a variable is set, and whether its key can be one; the key itself is not shown."""
    value = os.environ.get(name)
    if not value:
        return Check(name, "not set")
    problem = key_problem(value) if is_key else None
    wrong = f", but it has characters that no key has: {problem}. Copy it alone, once more"
    return Check(name, f"set{wrong if problem else ''}")


def version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"

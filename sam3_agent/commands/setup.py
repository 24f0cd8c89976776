"""`sam3-agent setup`: writes the choice of planner and segmenter to the configuration file."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from sam3_agent import registry
from sam3_agent.commands.doctor import Check, print_checks, version
from sam3_agent.commands.options import command
from sam3_agent.commands.output import print_stderr
from sam3_agent.config import (
    DEFAULTS,
    Setting,
    chosen,
    config_path,
    read_config,
    write_config,
)
from sam3_agent.errors import InputError, PlannerError
from sam3_agent.model.hub import Repository, download, free_bytes, look_up, repositories

SEGMENTERS = """Which segmenter finds things in the image?
  tiny           shipped; knows drawn icons only
  open:tiny      photos; open weights, no licence (0.9 GB); open:base is larger (1.9 GB)
  facebook/sam3  photos; SAM 3, its licence must be accepted (3.5 GB)
  or a folder with a checkpoint"""

BASE_URL = """Where does the model run?
  The base URL of your server, such as http://localhost:8000/v1; a dash for OpenAI itself."""

OPENAI = "-"
SPARE = 1.1
"""Disk space that a download needs, in parts of its size."""


@command
def setup(
    planner: Annotated[str | None, typer.Option(help="Instead of the first question.")] = None,
    segmenter: Annotated[str | None, typer.Option(help="Instead of the second.")] = None,
    base_url: Annotated[
        str | None, typer.Option(help="Instead of the third: where an openai: planner runs.")
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Ask nothing: write the choice and download the weights.")
    ] = False,
    no_download: Annotated[
        bool, typer.Option("--no-download", help="Download nothing and do not ask.")
    ] = False,
) -> None:
    """Choose planner and segmenter, check what they need, and write the choice to a file.

    Environment variables and options overrule the file; keys are never written to it. Exits with 3
    when something that was chosen is still missing.
    """

    if not sys.stdin.isatty() and not (planner and segmenter and yes):
        raise InputError(
            "setup asks its questions on a terminal, and there is none; give --planner, "
            "--segmenter and --yes"
        )
    path = config_path()
    if path is None:
        raise InputError("there is no home folder; name a file in $SAM3_AGENT_CONFIG")
    values = _settings(planner, segmenter, base_url, _settings_before(path), yes)
    found = [look_up(one) for one in _downloads(values["segmenter"])]
    checks = _checks(values, found)
    print_checks(checks)
    if not yes and not typer.confirm(f"Write this choice to {path}?", default=True, err=True):
        print_stderr("nothing was written")
        return
    write_config(path, values)
    print_stderr(f"wrote {path}")
    for setting in values:
        choice = chosen(setting)
        if choice.file is None:
            print_stderr(f"but {choice.source} is set to {choice.value}, and overrules it")
    wanted = [one for one in found if not one.cached and not one.problem]
    if wanted and not no_download and _may_download(wanted, yes):
        for one in wanted:
            print_stderr(f"downloading {one.id}")
            download(one.id)
        print_stderr("downloaded; try: sam3-agent ask photo.jpg 'how many people are there?'")
    if any(check.ok is False for check in checks):
        print_stderr("what is marked FAIL is still missing")
        raise typer.Exit(3)


def _settings(
    planner: str | None,
    segmenter: str | None,
    base_url: str | None,
    before: dict[Setting, str],
    yes: bool,
) -> dict[Setting, str]:
    """The settings as given, else as the user answers; InputError for one that cannot be used."""
    values: dict[Setting, str] = {}
    was = {**DEFAULTS, **before}
    values["planner"] = _answer(planner, _planner_question(), was["planner"], _check_planner)
    if values["planner"].startswith("openai:"):
        url = base_url or (OPENAI if yes else None)
        url = _answer(url, BASE_URL, was.get("base_url", OPENAI), _check_url)
        if url != OPENAI:
            values["base_url"] = url
    elif base_url:
        raise InputError(f"--base-url is for an openai: planner, not for {values['planner']}")
    values["segmenter"] = _answer(segmenter, SEGMENTERS, was["segmenter"], _downloads)
    return values


def _planner_question() -> str:
    lines = ["Which planner reads the questions?"]
    lines.append("  offline        a small English grammar; needs nothing")
    lines += [f"  {one.name + ':MODEL':14} {one.title}" for one in registry.providers()]
    return "\n".join(lines)


def _downloads(segmenter: str) -> tuple[str, ...]:
    """The hub ids of a segmenter's weights; InputError for a name that is none."""
    return repositories(segmenter) if registry.is_checkpoint(segmenter) else ()


def _answer(given: str | None, question: str, default: str, check: Callable[[str], object]) -> str:
    """The given value, or the user's answer; asks again until it can be used."""
    if given is not None:
        check(given.strip())
        return given.strip()
    print_stderr(question)
    while True:
        value: str = typer.prompt("choice", default=default, err=True).strip()
        try:
            check(value)
            return value
        except InputError as error:
            print_stderr(f"{error}")


def _check_planner(name: str) -> None:
    if not name:
        raise InputError("the planner has no name")
    try:
        registry.planner(name)
    except PlannerError:
        return  # a missing key or package is reported with the other checks


def _check_url(text: str) -> None:
    if text != OPENAI and not text.startswith(("http://", "https://")):
        raise InputError(f"{text!r} is no URL such as http://localhost:8000/v1")
    if "@" in text:
        raise InputError("the URL holds a password, which must not be written down; leave it out")


def _settings_before(path: Path) -> dict[Setting, str]:
    """The settings so far; none when the file is broken, since it will be replaced."""
    try:
        return read_config(path)
    except InputError as error:
        print_stderr(f"{error}; it will be replaced")
        return {}


def _checks(values: dict[Setting, str], found: list[Repository]) -> list[Check]:
    """Whether what the settings need is there."""
    checks = [_planner_check(values)]
    for name in ("torch", "torchvision", "transformers"):
        checks.append(Check(name, version(name), version(name) != "not installed"))
    for one in found:
        state = "in the local cache" if one.cached else f"may be downloaded ({_size(one.bytes)})"
        checks.append(Check("weights", f"{one.id}: {one.problem or state}", not one.problem))
    wanted = sum(one.bytes or 0 for one in found if not one.cached)
    if wanted:
        folder, free = free_bytes()
        space = f"{_size(free)} free for {_size(wanted)} in {folder}"
        checks.append(Check("disk", space, free > SPARE * wanted))
    return checks


def _planner_check(values: dict[Setting, str]) -> Check:
    name = values["planner"]
    options = {"base_url": values["base_url"]} if "base_url" in values else {}
    try:
        registry.planner(name, **options)
    except PlannerError as error:
        return Check("planner", str(error), False)
    return Check("planner", f"{name}: all that it needs is here", True)


def _may_download(wanted: list[Repository], yes: bool) -> bool:
    size = sum(one.bytes or 0 for one in wanted)
    folder, free = free_bytes()
    if free < SPARE * size:
        print_stderr(
            f"not downloaded: {_size(size)} do not fit into {folder}, set HF_HOME to another disk"
        )
        return False
    names = ", ".join(one.id for one in wanted)
    return yes or typer.confirm(f"Download {names} ({_size(size)}) now?", default=False, err=True)


def _size(count: int | None) -> str:
    return "size not known" if not count else f"{count / 1e9:.1f} GB"

"""Names: built-in, `package.module:Class`, wrong ones, and what may not be chosen from outside."""

import importlib.util
import re
import sys
import tomllib
from pathlib import Path

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from sam3_agent import Agent, entry_points, registry
from sam3_agent.cli import app
from sam3_agent.errors import InputError, SegmenterError, ToolError
from sam3_agent.evals.benchmarks import jsonl, read
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.planner import Provider, price_of
from sam3_agent.plugin.rest import ImageToOpen
from sam3_agent.plugin.sessions import Sessions
from sam3_agent.plugin.tool_calls import TOOLS, run_tool
from sam3_agent.plugin.toolkit import Toolkit

MODULE = """
from sam3_agent import Masks, Message
from sam3_agent.model.fake_segmenter import FakeSegmenter

class Echo:
    name = "echo"
    sees = False

    def __init__(self, model="none", *, price=None):
        self.model = model

    def reply(self, messages, tools):
        return Message("assistant", self.model)

class Broken:
    def __init__(self):
        raise ValueError("no such file")

class Nothing:
    pass

def fail(data, split):
    return {}["key"]

placed = FakeSegmenter({"dog": [(1, 1, 5, 5)]})

def read(data, split, *, limit=None):
    return 42
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module in the working directory, which is not on Python's path."""
    name = f"own_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [one for one in sys.path if one])
    return name


def test_a_class_is_found_by_its_module_and_name(module: str) -> None:
    found = Agent(f"{module}:Echo", f"{module}:placed", verifier="none")
    assert (found.planner.name, found.segmenter.name) == ("echo", "placed")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("{}:Ecko", r"has no 'Ecko' \(did you mean 'Echo'\?\)"),
        ("{}:Broken", "cannot be made: ValueError: no such file"),
        ("{}:Nothing", "is no planner, it has no name"),
        ("{}:placed", "is no planner, it has no method reply"),
        ("{}.inner:Echo", "cannot be imported: ModuleNotFoundError"),
        ("os:getcwd", "is no planner"),
    ],
)
def test_a_wrong_class_is_refused_with_what_was_expected(module: str, name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        registry.planner(name.format(module))


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("ofline", "offline"),
        ("Offline", "offline"),
        ("opneai:gpt-5", "openai:gpt-5"),
        ("OpenAI:gpt-5.4", "openai:gpt-5.4"),
        ("gpt-5.4-mini", "openai:gpt-5.4-mini"),
        ("gpt-6", "openai:gpt-6"),
        ("gemini-3.8-flash", "gemini:gemini-3.8-flash"),
        ("gemnii:gemini-3.8-flash", "gemini:gemini-3.8-flash"),
    ],
)
def test_a_wrong_planner_suggests_the_nearest(wrong: str, right: str) -> None:
    with pytest.raises(InputError, match=rf"no planner '{wrong}' \(did you mean '{right}'\?\)"):
        registry.planner(wrong)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("sam3", "facebook/sam3"),
        ("SAM3", "facebook/sam3"),
        ("sam-3", "facebook/sam3"),
        ("tinny", "tiny"),
        ("opne:tiny", "open:tiny"),
        ("open-base", "open:base"),
    ],
)
def test_a_wrong_segmenter_suggests_the_nearest_before_any_request(wrong: str, right: str) -> None:
    with pytest.raises(InputError, match=rf"no segmenter '{wrong}' \(did you mean '{right}'"):
        registry.segmenter(wrong)


def test_a_name_that_is_like_no_other_gets_the_list() -> None:
    with pytest.raises(InputError, match=r"'magic'; choose offline, openai:MODEL, gemini:MODEL or"):
        registry.planner("magic")
    with pytest.raises(InputError, match=r"'xyzzy'; choose tiny, open:tiny, .*facebook/sam3"):
        registry.segmenter("xyzzy")


@pytest.mark.parametrize("name", ["nowhere:Planner", "no.where:Planner", "nowhere:a.b"])
def test_a_class_of_a_module_that_is_not_there_is_said_to_be_of_no_module(name: str) -> None:
    for find in (registry.planner, registry.segmenter, registry.benchmark_reader):
        with pytest.raises(InputError, match=r"and no module 'no[.w]\w+', neither installed nor"):
            find(name)


@pytest.mark.parametrize("name", ["offline:", "offline:x"])
def test_a_name_that_takes_nothing_after_it_says_so(name: str) -> None:
    with pytest.raises(InputError, match=f"'{name}': nothing follows offline"):
        registry.planner(name)
    with pytest.raises(InputError, match="'tiny:x': nothing follows tiny"):
        registry.segmenter("tiny:x")


@pytest.mark.parametrize("name", ["openai", "openai:", "gemini:"])
def test_a_provider_without_a_model_shows_one(name: str) -> None:
    with pytest.raises(InputError, match=r"needs a model; give one, such as \w+:\w+-\d"):
        registry.planner(name)


def test_a_provider_is_never_a_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-one")
    assert registry.planner("openai:OpenAI").name == "openai:OpenAI"


def test_a_folder_whose_name_looks_like_a_class_is_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "json:tool").mkdir()
    with pytest.raises(SegmenterError, match=r"config\.json"):
        registry.segmenter("json:tool")


def test_a_benchmark_is_checked_when_it_is_read(module: str) -> None:
    with pytest.raises(InputError, match="is 42, no benchmark"):
        read(f"{module}:read")
    with pytest.raises(InputError, match="unexpected keyword argument 'seed'"):
        read(f"{module}:read", seed=1)


@pytest.mark.parametrize("threshold", [0.5, 0.3, 0.25])
def test_the_tool_states_the_default_threshold_of_the_segmenter(threshold: float) -> None:
    (segment, *_) = registry.tools(FakeSegmenter({}, threshold=threshold))
    assert f"least score, default {threshold:g};" in " ".join(segment.description.split())


def test_help_lists_how_planners_are_named() -> None:
    shown = CliRunner().invoke(app, ["ask", "--help"], env={"COLUMNS": "200"}).output
    assert "offline, openai:MODEL, gemini:MODEL or package.module:Class" in " ".join(shown.split())


def test_the_table_of_the_readme_has_what_providers_declare() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    rows = [line for line in readme.splitlines() if line.startswith("|") and ":MODEL`" in line]
    for provider in registry.providers():
        own = " ".join(row for row in rows if f"`{provider.name}:MODEL`" in row)
        assert f"pip install 'sam3-agent[{provider.extra}]'" in own, provider
        assert provider.key_variables[0] in own, provider
    named = {name for row in rows for name in re.findall(r"`(\w+):MODEL`", row)}
    assert named == {provider.name for provider in registry.providers()}


@pytest.mark.parametrize("provider", registry.providers(), ids=lambda one: one.name)
def test_what_a_provider_declares_is_true(provider: Provider) -> None:
    settings = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))
    needs = settings["project"]["optional-dependencies"][provider.extra]
    assert any(re.match(rf"{provider.package}\b", need) for need in needs)
    assert importlib.util.find_spec(provider.module) is not None
    example = registry.planner(f"{provider.name}:{provider.example_model}", api_key="sk-one")
    assert price_of(example) is not None
    assert provider.price_source


@pytest.mark.parametrize("field", ["planner", "segmenter", "verifier", "tools", "model"])
@pytest.mark.parametrize("tool", TOOLS)
def test_no_caller_of_rest_or_mcp_can_name_a_class(module: str, tool: str, field: str) -> None:
    agent = Agent("offline", FakeSegmenter({}))
    toolkit = Toolkit(agent, Sessions(agent.segmenter))
    with pytest.raises(ToolError, match=f"has no argument '{field}'"):
        run_tool(toolkit, tool, {"image": "x.png", field: f"{module}:Echo"})
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        ImageToOpen.model_validate({"image": "x.png", field: f"{module}:Echo"})
    assert module not in sys.modules


def test_an_error_in_a_class_of_somebody_else_is_theirs_and_one_of_ours_is_a_bug(
    module: str,
) -> None:
    with pytest.raises(InputError, match="cannot be made: KeyError: 'key'"):
        read(f"{module}:fail")
    with pytest.raises(AttributeError):
        entry_points.make("the benchmark", jsonl.tally, [None])

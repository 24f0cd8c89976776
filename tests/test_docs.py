"""The how-tos: their code runs, their contracts hold, and the shipped fakes are named there."""

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from sam3_agent.testing.planner_contract import PlannerContract
from sam3_agent.testing.segmenter_contract import SegmenterContract
from sam3_agent.testing.tool_contract import ToolContract

DOCS = Path(__file__).parents[1] / "docs"
CONTRACTS = (PlannerContract, SegmenterContract, ToolContract)
PAGES = sorted(path.name for path in DOCS.glob("writing-a-*.md"))


def namespace(page: str) -> dict[str, Any]:
    """What a page defines when its code blocks run in order."""
    values: dict[str, Any] = {"__name__": page.removesuffix(".md").replace("-", "_")}
    text = (DOCS / page).read_text(encoding="utf-8")
    for block in re.finditer(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        line = text[: block.start()].count("\n") + 1
        source = "\n" * line + block[1]  # so that an error names the line of the page
        exec(compile(source, DOCS / page, "exec"), values)
    return values


def test_there_is_a_page_for_each_of_the_four() -> None:
    assert [
        f"writing-a-{what}.md" for what in ("benchmark", "planner", "segmenter", "tool")
    ] == PAGES


@pytest.mark.parametrize("page", PAGES)
def test_the_code_of_a_page_runs_and_keeps_its_contract(page: str) -> None:
    kept = 0
    for value in namespace(page).values():
        if inspect.isclass(value) and issubclass(value, CONTRACTS) and value not in CONTRACTS:
            for name in dir(value):
                if name.startswith("test_"):
                    getattr(value(), name)()
                    kept += 1
    assert bool(kept) == (page != "writing-a-benchmark.md")


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_short_and_names_a_fake(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 80
    assert "FakeSegmenter" in text or "ScriptedPlanner" in text

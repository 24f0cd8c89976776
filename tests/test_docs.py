"""The how-tos: their code runs, their contracts hold, and the shipped fakes are named there."""

import inspect
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from sam3_agent.testing.planner_contract import PlannerContract
from sam3_agent.testing.segmenter_contract import SegmenterContract
from sam3_agent.testing.tool_contract import ToolContract

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
CONTRACTS = (PlannerContract, SegmenterContract, ToolContract)
PAGES = sorted(path.name for path in DOCS.glob("writing-a-*.md"))


def namespace(page: Path) -> dict[str, Any]:
    """What a page defines when its code blocks run in order."""
    values: dict[str, Any] = {"__name__": page.stem.replace("-", "_")}
    text = page.read_text(encoding="utf-8")
    for block in re.finditer(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        line = text[: block.start()].count("\n") + 1
        source = "\n" * line + block[1]  # so that an error names the line of the page
        exec(compile(source, page, "exec"), values)
    return values


def test_there_is_a_page_for_each_of_the_four() -> None:
    assert [
        f"writing-a-{what}.md" for what in ("benchmark", "planner", "segmenter", "tool")
    ] == PAGES


@pytest.mark.parametrize("page", PAGES)
def test_the_code_of_a_page_runs_and_keeps_its_contract(page: str) -> None:
    kept = 0
    for value in namespace(DOCS / page).values():
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


def test_the_code_of_the_readme_runs_in_an_empty_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = namespace(ROOT / "README.md")["answer"]
    assert (answer.text, answer.status) == ("There are 3 red cars.", "answered")
    assert (tmp_path / "out" / "overlay.png").is_file()


def test_the_blocks_of_every_client_are_python_and_its_version_is_pinned() -> None:
    text = (DOCS / "clients.md").read_text(encoding="utf-8")
    versions = tomllib.loads((ROOT / "tests/clients/versions.toml").read_text(encoding="utf-8"))
    assert set(re.findall(r"^## (.+)$", text, re.MULTILINE)) == set(versions)
    for block in re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        compile(block, "clients.md", "exec")


def test_the_architecture_names_only_files_that_exist() -> None:
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    missing = []
    for line in text.splitlines():
        for name in re.findall(r"`([\w./]+(?:\.py|\.md|\.toml|/))`", line):
            places = [ROOT / name, ROOT / "sam3_agent" / name]
            places += [ROOT / "sam3_agent/plugin" / name, ROOT / "model/offline" / name]
            places += [ROOT / "model/providers" / name, ROOT / "evals" / name, DOCS / name]
            if not any(place.exists() for place in places):
                missing.append(name)
    assert not missing

"""The structure: who may import whom, which words are used, what a wheel holds, what is public."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import sam3_agent
from tests.command_line import python

ROOT = Path(__file__).parents[1]
FOLDERS = ("tools", "prompts", "model", "evals")
"""Beside `sam3_agent/` in a clone, inside it once installed."""

MAY_IMPORT = {
    "sam3_agent": set(),
    "tools": {"sam3_agent"},
    "prompts": set(),
    "model": {"sam3_agent"},
    "evals": {"sam3_agent", "model"},
}
DATA = ("model/offline/synonyms.toml", "model/tiny/vocabulary.json")
CORE_LIBRARIES = {"numpy", "PIL", "pycocotools", "pydantic", "typer", "rich"}
PYDANTICS_OWN = {"typing_extensions"}
"""What pydantic needs of its users: TypedDict, until Python 3.12."""

METAPHORS = re.compile(
    r"\b(eyes?|doors?|gates?|studies|sights?|brains?|strangers?|seams?|fresh eyes)\b", re.I
)


def sources(folder: str) -> list[Path]:
    return sorted(path for path in (ROOT / folder).rglob("*.py") if path.resolve() == path)


def module_name(path: Path) -> str:
    """The dotted name under which a file is imported."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    inside = parts if parts[0] == "sam3_agent" else ("sam3_agent", *parts)
    return ".".join(inside).removesuffix(".__init__")


MODULES = {module_name(path): path for folder in MAY_IMPORT for path in sources(folder)}


def imported(path: Path, everywhere: bool) -> set[str]:
    """The modules that a file imports, at its top level or everywhere in it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names: set[str] = set()
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            module = node.module or ""
            names.update({module, *(f"{module}.{alias.name}" for alias in node.names)})
    return names


def own_imports(path: Path) -> set[str]:
    """The project's modules that a file needs, wherever in the file it imports them.

    `from package import module` needs the module, not all that the package's `__init__` imports.
    """
    needed: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            needed.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            needed.update(name if name in MODULES else node.module for name in names)
    return needed & set(MODULES)


def folders_of(names: set[str]) -> set[str]:
    """Which folders a set of modules lies in."""
    inside = [name.split(".") for name in names if name.split(".")[0] == "sam3_agent"]
    return {
        parts[1] if len(parts) > 1 and parts[1] in FOLDERS else "sam3_agent" for parts in inside
    }


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_a_folder_imports_only_what_it_may(folder: str) -> None:
    for path in sources(folder):
        if path.name == "registry.py" or path.parent.name in ("commands", "testing"):
            continue  # they join the folders: names to objects, commands, what tests of others use
        allowed = MAY_IMPORT[folder] | {folder}
        assert folders_of(imported(path, everywhere=True)) <= allowed, path


def test_no_import_leads_back_to_its_module_not_even_one_inside_a_function() -> None:
    graph = {name: own_imports(path) - {name} for name, path in MODULES.items()}
    list(TopologicalSorter(graph).static_order())  # raises CycleError, which names the cycle


def test_imports_for_type_checkers_alone_are_of_optional_packages() -> None:
    for path in MODULES.values():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                hidden = {getattr(line, "module", None) or "" for line in node.body}
                assert not any(name.startswith("sam3_agent") for name in hidden), path


def prose(path: Path) -> Iterator[str]:
    """The docstrings of a file, and all texts of a command, its help among them."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield str(node.value.value)
        elif isinstance(node, ast.Constant) and path.parent.name == "commands":
            yield str(node.value)


@pytest.mark.parametrize("folder", [*MAY_IMPORT, "tests"])
def test_names_and_docstrings_use_no_metaphors(folder: str) -> None:
    found = [
        (path.name, words.group())
        for path in sources(folder)
        for text in (path.stem.replace("_", " "), *prose(path))
        if (words := METAPHORS.search(text)) is not None
    ]
    assert not found


def test_the_core_needs_four_libraries_and_the_command_line_two_more() -> None:
    for path in sources("sam3_agent"):
        if path.parent.name == "examples":
            continue  # programs of people who have an SDK
        if path.name in ("http_server.py", "connections.py"):
            continue  # subclasses of uvicorn's classes, imported when a server starts
        for name in imported(path, everywhere=False):
            top = name.split(".")[0]
            assert top in sys.stdlib_module_names | CORE_LIBRARIES | PYDANTICS_OWN | {
                "sam3_agent"
            }, (path, name)
            if path.name != "cli.py" and path.parent.name != "commands":
                assert top not in ("typer", "rich"), path


def test_importing_the_package_loads_no_heavy_library() -> None:
    check = (
        "import sys, sam3_agent, sam3_agent.tools, sam3_agent.model, sam3_agent.evals;"
        "import sam3_agent.plugin, sam3_agent.plugin.mcp_server, sam3_agent.plugin.rest;"
        "heavy = {'torch', 'transformers', 'openai', 'google', 'scipy', 'mcp', 'fastapi'};"
        "heavy &= set(sys.modules);"
        "print(*sorted(heavy))"
    )
    done = python("-c", check)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


def test_importing_the_package_leaves_slow_modules_to_what_needs_them() -> None:
    check = (
        "import sys, sam3_agent;"
        "print(*sorted({'pydantic', 'asyncio', 'ssl', 'urllib.request'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


def test_the_public_surface_is_what_we_promise() -> None:
    assert set(sam3_agent.__all__) == {
        *(
            "Agent",
            "Chat",
            "Effort",
            "Answer",
            "Mention",
            "Status",
            "Budget",
            "Usage",
            "TokenUsage",
            "load_image",
        ),
        *("Scene", "Finding", "Masks", "Message", "ToolCall"),
        *("Tool", "Observation", "Conclusion", "Planner", "Segmenter", "Detection"),
        *("ConceptPrompt", "ObjectPrompt", "Selection", "STANDARD", "COUNTING"),
        *("Event", "TurnStarted", "PlannerReplied", "ToolStarted", "ToolFinished", "Finished"),
        "ChecksFinished",
        *("Sam3AgentError", "InputError", "ImageError", "PromptError", "ToolError"),
        *("ModelError", "PlannerError", "SegmenterError"),
    }
    for name in sam3_agent.__all__:
        assert hasattr(sam3_agent, name)


def test_every_folder_with_modules_is_listed_for_the_wheel() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    setuptools = settings["tool"]["setuptools"]
    folders = {path.parent for folder in MAY_IMPORT for path in sources(folder)}
    listed = {ROOT / setuptools["package-dir"][package] for package in setuptools["packages"]}
    assert folders == listed


def test_a_wheel_holds_every_module_and_data_file_and_nothing_generic(tmp_path: Path) -> None:
    source = tmp_path / "source"
    kept = shutil.ignore_patterns(".*", "build", "dist", "out", "runs", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, source, symlinks=True, ignore=kept)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path)]
    done = subprocess.run([*build, str(source)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.split("/")[0].split("-")[0] for name in names} == {"sam3_agent"}
    for folder in MAY_IMPORT:
        inside = "sam3_agent" if folder == "sam3_agent" else f"sam3_agent/{folder}"
        for path in sources(folder):
            assert f"{inside}/{path.relative_to(ROOT / folder)}" in names
    for data in ("py.typed", "prompts/planner.md", "model/tiny/model.safetensors", *DATA):
        assert f"sam3_agent/{data}" in names
    for data in ("evals/icons/noto.png", "evals/demo/annotations.json"):
        assert f"sam3_agent/{data}" in names
    unpacked = tmp_path / "unpacked"
    zipfile.ZipFile(wheel).extractall(unpacked)
    check = "import sam3_agent.cli, sam3_agent.prompts as p; p.fill('planner'); print(p.__file__)"
    ran = subprocess.run(
        [sys.executable, "-c", check], cwd=unpacked, capture_output=True, text=True
    )
    assert ran.stdout.startswith(str(unpacked)), ran.stderr

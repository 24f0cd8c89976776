"""Optional packages: what lacks one names the extra, before anything is paid for or waited for."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from sam3_agent import InputError, PlannerError
from sam3_agent.extras import EXTRAS, require
from tests.command_line import python

ROOT = Path(__file__).parents[1]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DISTRIBUTIONS = {
    "cv2": "opencv-python-headless",
    "google.genai": "google-genai",
    "inspect_ai": "inspect-ai",
    "mcp_types": "mcp",  # its own dependency
    "starlette": "fastapi",  # a dependency of both servers
    "python_multipart": "python-multipart",
    "prometheus_client": "prometheus-client",
    "resvg_py": "resvg-py",
}
"""What brings a package, where that is not named like it."""

ALWAYS = {
    *("json_repair", "numpy", "PIL", "pycocotools", "pydantic", "rich", "torch", "torchvision"),
    *("transformers", "typer", "typing_extensions", "yaml"),
    # what these bring themselves
    *("huggingface_hub", "safetensors", "tokenizers", "anyio", "httpx2", "httpcore2", "h11"),
}
"""What the bare wheel has."""


def own_files() -> list[Path]:
    rooms = ("sam3_agent", "tools", "prompts", "model", "evals")
    found = [path for room in rooms for path in (ROOT / room).rglob("*.py")]
    # the examples are programs of people who have an SDK; the peer is a package of Meta's
    return [
        path
        for path in found
        if path.resolve() == path and path.parent.name != "examples" and path.name != "meta_sam3.py"
    ]


def optional_imports(path: Path) -> set[str]:
    """The packages outside the bare wheel that a file imports when it runs."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    outside = {
        name
        for name in names
        if name.partition(".")[0] not in {*sys.stdlib_module_names, *ALWAYS, "sam3_agent"}
    }
    return {
        next((one for one in EXTRAS if f"{name}.".startswith(f"{one}.")), name) for name in outside
    }


def required(path: Path) -> set[str]:
    """The packages that a file asks `require` or `available` for."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {
        argument.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("require", "available")
        for argument in node.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    }


GUARDED = {
    "plugin/middleware.py": {"starlette"},
    "plugin/error_responses.py": {"starlette"},
    "plugin/metrics.py": {"prometheus_client", "starlette"},
    "plugin/mcp_content.py": {"mcp_types"},
    "plugin/request_body.py": {"fastapi", "starlette"},
    "plugin/stdio.py": {"mcp", "mcp_types"},
    "plugin/connections.py": {"uvicorn"},
    "plugin/http_server.py": {"uvicorn"},
    "commands/server.py": {"starlette"},
    "providers/gemini_api.py": {"google.genai"},
}
"""What a file imports that is only reached through one that requires it."""


@pytest.mark.parametrize("path", own_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_asks_for_every_optional_package_that_it_imports(path: Path) -> None:
    found = optional_imports(path)
    assert found <= set(EXTRAS), "neither in the bare wheel nor known to extras.py"
    guarded = GUARDED.get(f"{path.parent.name}/{path.name}", set())
    assert found <= required(path) | guarded


def test_the_dev_extra_has_what_the_tests_need_of_the_others() -> None:
    others = set(SETTINGS["optional-dependencies"]) - {"dev"}
    first = SETTINGS["optional-dependencies"]["dev"][0]
    assert set(first.removeprefix("sam3-agent[").removesuffix("]").split(",")) == others


def test_every_extra_brings_the_packages_that_are_required_from_it() -> None:
    for package, extra in EXTRAS.items():
        listed = {
            name
            for line in SETTINGS["optional-dependencies"][extra]
            for name in (line.partition(">")[0], line.partition("[")[0])
        }
        assert DISTRIBUTIONS.get(package, package) in listed, package


def test_a_package_that_is_not_there_is_named_with_its_extra() -> None:
    with pytest.raises(
        InputError, match=r"a thing needs no_such: pip install 'sam3-agent\[evals\]'"
    ):
        require("no_such", extra="evals", purpose="a thing")
    with pytest.raises(PlannerError):
        require("no_such", extra="evals", purpose="a thing", error=PlannerError)
    require("scipy", "cv2", purpose="a thing")


def test_a_package_that_is_broken_is_named_with_its_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "half_installed.py").write_text("import its_own_dependency")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(InputError, match=r"fails to import: No module named .its_own_dependency"):
        require("half_installed", extra="evals", purpose="a thing")


def bare(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A command on a machine that has the bare wheel only."""
    absent = sorted({name.partition(".")[0] for name in EXTRAS} - {"jinja2", "google"})
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({[*absent, 'google.genai']!r}));"
        f"sys.argv = ['sam3-agent', *{list(arguments)!r}];"
        "from sam3_agent.cli import app; app()"
    )
    keys = {"OPENAI_API_KEY": "x", "GEMINI_API_KEY": "x"}
    return python("-c", program, cwd=folder, env=keys)


@pytest.mark.parametrize(
    ("arguments", "package", "extra", "code"),
    [
        (["eval", "scenes", "--concepts"], "scipy", "evals", 2),
        (["eval", "saco-gold", "--data", "."], "scipy", "evals", 2),
        (["eval", "jsonl", "--data", "."], "scipy", "evals", 2),
        (["eval", "reasonseg", "--data", "."], "cv2", "evals", 2),
        (["train-tiny", "state"], "scipy", "evals", 2),
        (["ask", "a.png", "cars", "--planner", "openai:x"], "openai", "openai", 3),
        (["ask", "a.png", "cars", "--planner", "gemini:x"], "google.genai", "gemini", 3),
        (["mcp"], "mcp", "mcp", 2),
        (["serve", "--http", "127.0.0.1:0"], "fastapi", "serve", 2),
        (["segment", "float.tif", "car"], "tifffile", "tiff", 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_command_on_the_bare_wheel_names_the_extra_at_once(
    arguments: list[str], package: str, extra: str, code: int, tmp_path: Path
) -> None:
    import numpy as np
    import tifffile
    from PIL import Image

    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "float.tif", np.zeros((9, 9, 3), np.float32), photometric="rgb")
    (tmp_path / "samples.jsonl").write_text("")
    done = bare(*arguments, folder=tmp_path)
    (line,) = done.stderr.strip().splitlines()
    assert f"needs {package}: pip install 'sam3-agent[{extra}]'" in line
    assert (done.returncode, done.stdout) == (code, "")


def test_the_settings_of_a_client_come_with_the_extra_that_its_server_needs(tmp_path: Path) -> None:
    done = bare("mcp", "--config", "codex", folder=tmp_path)
    assert done.returncode == 0
    assert "needs an extra first: pip install 'sam3-agent[mcp]'" in done.stderr

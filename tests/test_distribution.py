"""How others install the MCP server: the registry's server.json, and the bundle for a click."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sam3_agent.plugin.tool_calls import TOOLS
from tests.mcp_fixtures import HANDSHAKE, INITIALIZED, message
from tests.plugin_fixtures import DEMO, ROOT, environment

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
SERVER = json.loads((ROOT / "server.json").read_text("utf-8"))
MANIFEST = json.loads((ROOT / ".ci/mcpb/manifest.json").read_text("utf-8"))

ENVIRONMENT = {
    "SAM3_AGENT_PLANNER",
    "SAM3_AGENT_SEGMENTER",
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "GEMINI_API_KEY",
    "HF_TOKEN",
}


def test_versions_are_the_projects() -> None:
    (package,) = SERVER["packages"]
    assert {SERVER["version"], package["version"], MANIFEST["version"]} == {PROJECT["version"]}
    (extras,) = package["runtimeArguments"]
    assert extras["value"].endswith(f"=={PROJECT['version']}")


def test_the_registry_file_keeps_its_schemas_rules() -> None:
    """Those of 2025-12-11, as far as they concern a package on PyPI that speaks stdio."""
    assert SERVER["$schema"].endswith("/schemas/2025-12-11/server.schema.json")
    assert re.fullmatch(r"io\.github\.[a-z0-9-]+/[a-z0-9-]+", SERVER["name"])
    assert 1 <= len(SERVER["description"]) <= 100
    assert set(SERVER["repository"]) == {"url", "source"}
    (package,) = SERVER["packages"]
    assert (package["registryType"], package["identifier"]) == ("pypi", PROJECT["name"])
    assert package["transport"] == {"type": "stdio"}
    for argument in (*package["runtimeArguments"], *package["packageArguments"]):
        needed = {"named": "name", "positional": "value"}[argument["type"]]
        assert isinstance(argument[needed], str)
    named = {variable["name"] for variable in package["environmentVariables"]}
    assert named == ENVIRONMENT
    secret = {one["name"] for one in package["environmentVariables"] if one.get("isSecret")}
    assert secret == {"OPENAI_API_KEY", "GEMINI_API_KEY", "HF_TOKEN"}


def test_the_registrys_command_line_is_one_that_the_program_takes() -> None:
    """Clients run RUNTIME RUNTIME_ARGUMENTS IDENTIFIER==VERSION PACKAGE_ARGUMENTS."""
    (package,) = SERVER["packages"]
    (extras,) = package["runtimeArguments"]
    assert (package["runtimeHint"], extras["name"]) == ("uvx", "--with")
    found = re.fullmatch(r"sam3-agent\[([a-z,]+)\]==.+", extras["value"])
    assert found
    assert set(found[1].split(",")) <= set(PROJECT["optional-dependencies"])
    given, root = package["packageArguments"]
    assert package["identifier"] in PROJECT["scripts"]  # what uvx runs
    arguments = [given["value"], root["name"], str(DEMO)]
    command = [sys.executable, "-m", "sam3_agent", *arguments]
    tools = tools_of(command, environment(PYTHONPATH=str(ROOT)))
    assert tools == list(TOOLS)


def tools_of(command: list[str], env: dict[str, str]) -> list[str]:
    """The names of the tools of a server on stdio."""
    with subprocess.Popen(
        command, cwd=DEMO, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        lines = (HANDSHAKE, INITIALIZED, message(1, "tools/list", {}))
        process.stdin.writelines(line + b"\n" for line in lines)
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["id"] == 0
        listed = json.loads(process.stdout.readline())
        process.stdin.close()
        assert process.wait(60) == 0
    return [tool["name"] for tool in listed["result"]["tools"]]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that a bundle of this code unpacks to."""
    folder = tmp_path_factory.mktemp("bundle")
    source = folder / "source"
    left = shutil.ignore_patterns(".git", ".venv", "build", "dist", "out", "runs", "__pycache__")
    shutil.copytree(ROOT, source, symlinks=True, ignore=left)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    subprocess.run([*build, str(source)], check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    pack = [sys.executable, str(source / ".ci/mcpb/build.py"), str(wheel)]
    subprocess.run([*pack, str(folder / "made.mcpb")], check=True)
    with zipfile.ZipFile(folder / "made.mcpb") as packed:
        packed.extractall(folder / "unpacked")
    return folder / "unpacked"


def test_a_bundle_holds_its_wheel_and_a_project_that_needs_it(bundle: Path) -> None:
    assert json.loads((bundle / "manifest.json").read_text("utf-8")) == MANIFEST
    project = tomllib.loads((bundle / "pyproject.toml").read_text("utf-8"))
    (wheel,) = bundle.glob("*.whl")
    assert project["tool"]["uv"]["sources"] == {"sam3-agent": {"path": wheel.name}}
    (needed,) = project["project"]["dependencies"]
    assert needed.startswith("sam3-agent[mcp,")
    assert project["project"]["version"] == PROJECT["version"]
    with Image.open(bundle / MANIFEST["icon"]) as icon:
        assert icon.size == (512, 512)


def test_the_manifest_names_the_tools_and_asks_for_what_it_uses() -> None:
    described = {tool["name"]: tool["description"] for tool in MANIFEST["tools"]}
    assert described == {name: tool.description.splitlines()[0] for name, tool in TOOLS.items()}
    assert (MANIFEST["manifest_version"], MANIFEST["server"]["type"]) == ("0.4", "uv")
    config = MANIFEST["server"]["mcp_config"]
    assert set(config["env"]) <= ENVIRONMENT
    used = set(re.findall(r"\$\{user_config\.(\w+)\}", json.dumps(config)))
    assert used == set(MANIFEST["user_config"])
    secret = {name for name, one in MANIFEST["user_config"].items() if one.get("sensitive")}
    assert secret == {"openai_api_key", "gemini_api_key", "hf_token"}


def test_the_bundles_program_starts_the_server_from_its_wheel(bundle: Path) -> None:
    """As a host does it, but for uv, which would download PyTorch; settings are left empty."""
    (wheel,) = bundle.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(bundle / "installed")
    config: dict[str, Any] = MANIFEST["server"]["mcp_config"]
    assert config["args"][:3] == ["run", "--directory", "${__dirname}"]
    program, folders = config["args"][3:]
    assert folders == "${user_config.folders}"
    unset = {**config["env"], "SAM3_AGENT_SEGMENTER": "", "OPENAI_API_KEY": ""}
    env = environment(**unset, PYTHONPATH=str(bundle / "installed"))
    given = [folders, "/no/such/folder", str(DEMO)]
    assert tools_of([sys.executable, str(bundle / program), *given], env) == list(TOOLS)


def test_the_readme_holds_the_registrys_marker() -> None:
    assert f"mcp-name: {SERVER['name']}" in (ROOT / "README.md").read_text("utf-8")

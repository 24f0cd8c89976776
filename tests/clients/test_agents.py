"""The blocks of docs/clients.md, run as they stand in each client's own environment."""

import os
import re
import subprocess
import sysconfig
from pathlib import Path

import pytest

from tests.clients.environments import VERSIONS, environment, python_of, server_on_path
from tests.clients.scripted_model import BOX, COUNTS, JPEG, ScriptedModel
from tests.plugin_fixtures import DEMO, RED_CARS, ROOT, running
from tests.plugin_fixtures import environment as own_environment
from tests.stub_server import StubServer

PAGE = ROOT / "docs" / "clients.md"
AGENTS = [
    name
    for name, section in re.findall(
        r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.M | re.S
    )
    if section.count("```python") == 2
]

ADDRESS = "http://127.0.0.1:8000"
"""Of the server that a person has started, in the docs."""

pytestmark = [pytest.mark.clients, pytest.mark.timeout(1500)]

QUIET = {
    "AGNO_TELEMETRY": "false",
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_TRACING_ENABLED": "false",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "OPENAI_AGENTS_DISABLE_TRACING": "1",
    "OTEL_SDK_DISABLED": "true",
    "OMP_NUM_THREADS": "1",
}
"""Settings that keep clients off the network."""


def section(client: str) -> str:
    return PAGE.read_text(encoding="utf-8").split(f"\n## {client}\n")[1].split("\n## ")[0]


def blocks(client: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", section(client), re.M | re.S)


def with_pictures_here(source: str) -> str:
    here = source.replace("/home/me/Pictures/street.png", str(RED_CARS))
    return here.replace("/home/me/Pictures", str(DEMO))


def run_program(client: str, source: str, model: ScriptedModel, folder: Path) -> None:
    """Run a program in a client's environment, with the scripted model behind its API."""
    program = folder / "program.py"
    program.write_text(source, encoding="utf-8")
    path = server_on_path(folder / "bin", ROOT)
    with StubServer(model) as server:
        env = own_environment(
            **QUIET,
            PATH=f"{path}{os.pathsep}{os.environ['PATH']}",
            OPENAI_API_KEY="stub",
            OPENAI_BASE_URL=server.openai_url,
            OPENAI_API_BASE=server.openai_url,
            GOOGLE_API_KEY="stub",
            GOOGLE_GEMINI_BASE_URL=server.gemini_url,
            HOME=str(folder),
        )
        env.pop("PYTHONPATH", None)
        done = subprocess.run(
            [python_of(environment(client)), program],
            cwd=folder,
            env=env,
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "done" in done.stdout


def assert_it_learns_all(model: ScriptedModel, pictures: bool) -> None:
    assert "ask_image" in model.offered
    assert "handle that an earlier result names" in model.offered
    assert len(model.sent) >= 4, model.sent[-1][-3000:]
    _, asked, masks, measured = model.sent[:4]
    assert "answered" in asked
    assert BOX.search(asked)
    assert bool(JPEG.search(asked)) == pictures
    assert "sam3://" not in asked
    assert COUNTS.search(masks)
    assert "centre 5" in measured


@pytest.mark.parametrize("client", AGENTS)
def test_a_model_of_a_client_learns_all_over_stdio(client: str, tmp_path: Path) -> None:
    source = blocks(client)[0]
    if ADDRESS in source:
        pytest.skip("the docs show HTTP alone")
    model, pictures = ScriptedModel(str(RED_CARS)), VERSIONS[client].get("pictures", True)
    run_program(client, with_pictures_here(source), model, tmp_path)
    assert_it_learns_all(model, pictures)


@pytest.mark.parametrize("client", AGENTS)
def test_a_model_of_a_client_learns_all_over_http(client: str, tmp_path: Path) -> None:
    source, text = blocks(client)[0], section(client)
    if ADDRESS not in source:
        (line,) = re.findall(r"Over HTTP: `(server = [^`]*)`", text)
        source = re.sub(r"^server = .*$", lambda _: line, source, flags=re.M)
    started = re.search(r"^\$ sam3-agent mcp --http \S+ (.*)$", text, re.M)
    options = started[1] if started else "--root /home/me/Pictures"
    if "`--pictures off`" in text:
        options += " --pictures off"
    model, pictures = ScriptedModel(str(RED_CARS)), VERSIONS[client].get("pictures", True)
    with running("mcp", *with_pictures_here(options).split()) as server:
        here = with_pictures_here(source).replace(ADDRESS, server.url)
        run_program(client, here, model, tmp_path)
    assert_it_learns_all(model, pictures)


@pytest.mark.parametrize("client", AGENTS)
def test_a_client_calls_the_functions(client: str, tmp_path: Path) -> None:
    # appended, so that the client's own versions of what both need come first
    ours = [str(ROOT), sysconfig.get_paths()["purelib"]]
    source = f"import sys\nsys.path += {ours}\n{with_pictures_here(blocks(client)[1])}"
    model = ScriptedModel("photo")
    run_program(client, source, model, tmp_path)
    assert_it_learns_all(model, pictures=False)

"""Clients without a model: tools, progress, cancelling, handles and masks, on stdio and HTTP."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.environments import VERSIONS, environment, python_of, server_on_path
from tests.clients.scripted_model import BOX, HANDLE, QUERY
from tests.clients.test_agents import section, with_pictures_here
from tests.plugin_fixtures import DEMO, RED_CARS, ROOT, running
from tests.plugin_fixtures import environment as own_environment

pytestmark = [pytest.mark.clients, pytest.mark.timeout(1500)]

FASTMCP = """
import asyncio, json, sys
from fastmcp import Client
from fastmcp.client.transports import StdioTransport
url, image, query = sys.argv[1:]
server = url or StdioTransport("sam3-agent", ["mcp", "--root", image.rpartition("/")[0]])
steps = []

async def on_progress(progress, total, message):
    steps.append(message)

async def main():
    async with Client(server, init_timeout=60) as client:
        tools = [tool.name for tool in await client.list_tools()]
        ask = {"image": image, "query": query}
        asked = await client.call_tool("ask_image", ask, progress_handler=on_progress)
        text = asked.content[0].text
        call = asyncio.ensure_future(client.call_tool("ask_image", ask))
        await asyncio.sleep(0)
        call.cancel()
        cancelled = isinstance((await asyncio.gather(call, return_exceptions=True))[0],
                               asyncio.CancelledError)
        again = {"image": next(one for one in text.split() if one.startswith("img_"))}
        masks = await client.call_tool("get_masks", {**again, "numbers": [1, 2]})
        print(json.dumps({
            "tools": tools, "kinds": [part.type for part in asked.content], "text": text,
            "steps": steps, "cancelled": cancelled, "masks": masks.content[0].text}))

asyncio.run(main())
"""

TYPESCRIPT = """
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
const [url, image, query] = process.argv.slice(2);
const args = ["mcp", "--root", image.slice(0, image.lastIndexOf("/"))];
const server = url ? new StreamableHTTPClientTransport(new URL(url))
  : new StdioClientTransport({ command: "sam3-agent", args, env: process.env });
const client = new Client({ name: "test", version: "1.0.0" });
await client.connect(server);
const tools = (await client.listTools()).tools.map((tool) => tool.name);
const call = (name, values, options) =>
  client.callTool({ name, arguments: values }, undefined, { timeout: 300_000, ...options });
const steps = [];
const asked = await call("ask_image", { image, query },
  { onprogress: (step) => steps.push(step.message) });
const text = asked.content[0].text;
const stop = new AbortController();
const stopped = call("ask_image", { image, query }, { signal: stop.signal });
stop.abort("enough");
const cancelled = await stopped.then(() => false, (error) => String(error).includes("enough"));
const handle = text.match(/img_[0-9a-f]{24}/)[0];
const masks = await call("get_masks", { image: handle, numbers: [1, 2] });
console.log(JSON.stringify({ tools, kinds: asked.content.map((part) => part.type), text, steps,
  cancelled, masks: masks.content[0].text }));
await client.close();
"""


@pytest.fixture
def program_environment(tmp_path: Path) -> dict[str, str]:
    path = server_on_path(tmp_path / "bin", ROOT)
    env = own_environment(PATH=f"{path}{os.pathsep}{os.environ['PATH']}", OMP_NUM_THREADS="1")
    env.pop("PYTHONPATH", None)
    return env


@pytest.fixture(params=["stdio", "http"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a server; empty where the client starts one on stdio."""
    if request.param == "stdio":
        yield ""
        return
    with running("mcp", "--root", str(DEMO)) as server:
        yield f"{server.url}/mcp"


def output(command: list[Any], env: dict[str, str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def assert_all_works(found: dict[str, Any]) -> None:
    assert {"ask_image", "get_masks"} <= set(found["tools"])
    assert found["kinds"] == ["text", "image"]
    assert "answered" in found["text"]
    assert BOX.search(found["text"])
    assert any("segment" in step for step in found["steps"])
    assert found["cancelled"]
    assert "counts" in found["masks"]


def test_fastmcp_works(url: str, program_environment: dict[str, str], tmp_path: Path) -> None:
    command = [python_of(environment("fastmcp")), "-c", FASTMCP, url, RED_CARS, QUERY]
    assert_all_works(json.loads(output(command, program_environment, tmp_path)))


def test_the_typescript_sdk_works(
    url: str, program_environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "node_modules").symlink_to(environment("TypeScript SDK") / "node_modules")
    (tmp_path / "program.mjs").write_text(TYPESCRIPT)
    command = ["node", "program.mjs", url, RED_CARS, QUERY]
    assert_all_works(json.loads(output(command, program_environment, tmp_path)))


@pytest.mark.parametrize("client", ["fastmcp", "TypeScript SDK"])
@pytest.mark.parametrize("transport", ["stdio", "http"])
def test_the_block_of_a_client_in_the_docs_runs(
    client: str, transport: str, program_environment: dict[str, str], tmp_path: Path
) -> None:
    text = section(client)
    (source,) = re.findall(r"^```(?:python|js)\n(.*?)^```$", text, re.M | re.S)
    (line,) = re.findall(r"Over HTTP: `((?:const )?server = [^`]*)`", text)
    source, folder = with_pictures_here(source), environment(client)
    with running("mcp", "--root", str(DEMO)) as server:
        if transport == "http":
            here = line.replace("http://127.0.0.1:8000", server.url)
            source = re.sub(r"^(const )?server = .*$", lambda _: here, source, flags=re.M)
        if "npm" in VERSIONS[client]:
            (tmp_path / "node_modules").symlink_to(folder / "node_modules")
            (tmp_path / "program.mjs").write_text(source)
            command: list[Any] = ["node", "program.mjs"]
        else:
            command = [python_of(folder), "-c", source]
        assert HANDLE.search(output(command, program_environment, tmp_path))


def test_the_inspector_lists_and_calls_as_the_docs_show(
    program_environment: dict[str, str], tmp_path: Path
) -> None:
    (shown,) = re.findall(r"\$ npx (@[^`]*)```", section("MCP Inspector"), re.S)
    program = environment("MCP Inspector") / "node_modules/.bin/mcp-inspector"
    line = with_pictures_here(shown).replace("@modelcontextprotocol/inspector", str(program))
    command = ["sh", "-c", line]
    called = json.loads(output(command, program_environment, tmp_path))
    assert [part["type"] for part in called["content"]] == ["text", "image"]
    assert called["structuredContent"]["status"] == "answered"
    listing = ["sh", "-c", line.partition("--method")[0].rstrip(" \\\n") + " --method tools/list"]
    tools = json.loads(output(listing, program_environment, tmp_path))["tools"]
    assert "get_masks" in [tool["name"] for tool in tools]

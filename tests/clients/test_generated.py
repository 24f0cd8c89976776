"""Clients that are generated from the OpenAPI of the REST server import, and call it."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.clients.environments import environment, python_of
from tests.plugin_fixtures import RED_CARS, Server, running

pytestmark = [pytest.mark.clients, pytest.mark.timeout(1500)]

PYTHON = {"packages": ["openapi-python-client==0.29.1"]}
TYPESCRIPT = {
    "npm": ["openapi-typescript@7.13.0", "openapi-fetch@0.17.0", "typescript@5.9.3", "tsx@4.23.15"]
}

EXPECTED = {
    "ask": [1, "The leftmost of 3 red cars."],
    "form": [3, "answered"],
    "json": [3, "done"],
    "refused": "segment takes 1 to 16 phrases, not 0",
    "mask": "PNG",
}
"""What both clients report: masks and words of an ask, of a form, and of JSON; an error; a file."""

CALLS_OF_PYTHON = """
import base64, io, json, sys
from pathlib import Path
url, picture, folder = sys.argv[1:]
sys.path.insert(0, folder)
from sam3_agent_client import Client, models
from sam3_agent_client.api.default import ask_image, read_masks, segment
from sam3_agent_client.types import File
content = Path(picture).read_bytes()
uri = "data:image/png;base64," + base64.b64encode(content).decode()
file = lambda: File(payload=io.BytesIO(content), file_name="a.png", mime_type="image/png")
client = Client(base_url=url, timeout=60)
query = "the leftmost red car"
asked = ask_image.sync(client=client, body=models.AskImageJsonBody(image=uri, query=query))
form = segment.sync(client=client, body=models.SegmentFilesBody(
    image=file(), phrases=["red car", "dog"], region=[0.0, 0.0, 100.0, 100.0]))
again = ask_image.sync(client=client, body=models.AskImageFilesBody(image=file(), query=query))
body = models.SegmentJsonBody(image=uri, phrases=["red car", "dog"])
found = segment.sync(client=client, body=body)
refused = segment.sync(client=client, body=models.SegmentJsonBody(image=uri, phrases=[]))
mask = read_masks.sync(client=client, handle=found.image, number=1)
print(json.dumps({"ask": [len(asked.masks), asked.text], "form": [len(form.masks), again.status],
    "json": [len(found.masks), found.status], "refused": refused.error.message,
    "mask": mask.payload.read()[1:4].decode()}))
"""

CALLS_OF_TYPESCRIPT = """
import createClient from "openapi-fetch";
import { readFileSync } from "node:fs";
import type { paths } from "./api.ts";
const [url, picture] = process.argv.slice(2);
const client = createClient<paths>({ baseUrl: url });
const content = readFileSync(picture);
const image = "data:image/png;base64," + content.toString("base64");
const phrases = ["red car", "dog"];
const query = "the leftmost red car";
const asked = await client.POST("/ask", { body: { image, query } });
const bodySerializer = (body: any) => {
  const form = new FormData();
  form.append("image", new Blob([content]), "a.png");
  for (const [name, value] of Object.entries(body))
    for (const one of [value].flat()) if (name !== "image") form.append(name, String(one));
  return form;
};
const form = await client.POST("/segment", { body: { image, phrases }, bodySerializer });
const again = await client.POST("/ask", { body: { image, query }, bodySerializer });
const found = await client.POST("/segment", { body: { image, phrases } });
const refused = await client.POST("/segment", { body: { image, phrases: [] } });
const path = { handle: found.data!.image, number: 1 };
const mask = await client.GET("/images/{handle}/masks/{number}.png",
  { params: { path }, parseAs: "arrayBuffer" });
console.log(JSON.stringify({
  ask: [asked.data!.masks.length, asked.data!.text],
  form: [form.data!.masks.length, again.data!.status],
  json: [found.data!.masks.length, found.data!.status],
  refused: refused.error!.error.message,
  mask: Buffer.from(mask.data as any).toString("latin1").slice(1, 4),
}));
"""

OVERRIDES = """
content_type_overrides:
  image/png: application/octet-stream
  image/jpeg: application/octet-stream
"""
"""Settings of openapi-python-client, which knows no pictures."""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running("serve", "--no-urls") as started:
        yield started


@pytest.fixture
def openapi(server: Server, tmp_path: Path) -> Path:
    path = tmp_path / "openapi.json"
    path.write_text(httpx2.get(f"{server.url}/openapi.json", trust_env=False).text)
    return path


def output(*command: str | Path, folder: Path) -> str:
    done: subprocess.CompletedProcess[str] = subprocess.run(
        [str(one) for one in command], cwd=folder, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def last_line(text: str) -> Any:
    return json.loads(text.strip().splitlines()[-1])


def test_openapi_python_client(server: Server, openapi: Path, tmp_path: Path) -> None:
    folder = environment("openapi-python-client", PYTHON)
    (tmp_path / "settings.yaml").write_text(OVERRIDES)
    generate: list[str | Path] = [
        folder / "bin" / "openapi-python-client",
        "generate",
        "--path",
        openapi,
    ]
    output(*generate, "--output-path", "made", "--config", "settings.yaml", folder=tmp_path)
    (tmp_path / "calls.py").write_text(CALLS_OF_PYTHON)
    command: list[str | Path] = [python_of(folder), "calls.py", server.url, RED_CARS, "made"]
    assert last_line(output(*command, folder=tmp_path)) == EXPECTED


def test_openapi_typescript(server: Server, openapi: Path, tmp_path: Path) -> None:
    folder = environment("openapi-typescript", TYPESCRIPT)
    programs = folder / "node_modules" / ".bin"
    output(programs / "openapi-typescript", openapi, "-o", folder / "api.ts", folder=folder)
    calls = folder / "calls.mts"
    calls.write_text(CALLS_OF_TYPESCRIPT)
    command: list[str | Path] = [programs / "tsx", calls, server.url, RED_CARS]
    assert last_line(output(*command, folder=folder)) == EXPECTED

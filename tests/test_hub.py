"""A checkpoint on the Hugging Face hub that cannot be had: one clear line within seconds."""

import json
import shutil
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from sam3_agent.model.checkpoints import TINY
from tests.command_line import python
from tests.loopback import address, serving

ROOT = Path(__file__).parents[1]
CLOSED = "http://127.0.0.1:9"
"""Where nobody listens, as without a network."""

REFUSALS = {
    "gated": (403, "GatedRepo"),
    "unknown": (404, "RepoNotFound"),
    "bare": (404, "EntryNotFound"),
    "busy": (503, ""),
}


class Hub(BaseHTTPRequestHandler):
    """Refuses `stub/<name>` in the way of that name, and counts what it was asked for."""

    asked: list[str]

    def do_HEAD(self) -> None:
        kind = self.path.split("/")[2]
        self.asked.append(kind)
        status, code = REFUSALS.get(kind, (404, ""))
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD  # noqa: N815


@pytest.fixture
def hub() -> Iterator[tuple[str, list[str]]]:
    handler = type("OneHub", (Hub,), {"asked": []})
    with serving(handler) as running:
        yield address(running), handler.asked  # type: ignore[attr-defined]


def loaded(endpoint: str, cache: Path, *names: str) -> tuple[dict[str, tuple[str, float]], str]:
    """What loading each segmenter gives (its error, or "loaded") and takes in seconds; stderr.

    In a process of its own, since the hub client reads its settings when it is imported.
    """
    program = f"""
import json, time
import torch, transformers, huggingface_hub  # not part of what is timed
from transformers import Sam3Model, Sam3Processor
from sam3_agent import SegmenterError
from sam3_agent import registry
for name in {list(names)!r}:
    began = time.monotonic()
    try:
        registry.segmenter(name)
        outcome = "loaded"
    except SegmenterError as error:
        outcome = str(error)
    print(json.dumps([name, outcome, time.monotonic() - began]))
"""
    env = {"HF_ENDPOINT": endpoint, "HF_HOME": str(cache), "HF_HUB_OFFLINE": "0"}
    done = python("-c", program, env=env)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return {name: (outcome, seconds) for name, outcome, seconds in rows}, done.stderr


def test_a_hub_that_is_away_is_one_line_at_once_and_the_cache_is_used(tmp_path: Path) -> None:
    kept = tmp_path / "hub" / "models--stub--kept"
    shutil.copytree(TINY, kept / "snapshots" / "abc")
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text("abc")
    found, stderr = loaded(CLOSED, tmp_path, "facebook/sam3", "open:tiny", "stub/kept")
    for name in ("facebook/sam3", "open:tiny"):
        error, seconds = found[name]
        assert "hub does not answer and the checkpoint is not in the local cache" in error
        assert "\n" not in error
        assert seconds < 10
    assert found["stub/kept"][0] == "loaded"
    assert found["stub/kept"][1] < 20
    assert "Retrying" not in stderr
    assert stderr.count("stub/kept is read from the local cache") == 1


ADVICE = {
    "gated": "is gated: accept its licence at https://huggingface.co/stub/gated",
    "unknown": "there is no segmenter 'stub/unknown'",
    "bare": "holds no config.json, so it is no SAM 3 checkpoint",
    "busy": "refused to give stub/busy: Server error '503 Service Unavailable'",
}


def test_a_hub_that_refuses_is_asked_once_and_explained_in_one_line(
    hub: tuple[str, list[str]], tmp_path: Path
) -> None:
    endpoint, asked = hub
    found, stderr = loaded(endpoint, tmp_path, *(f"stub/{kind}" for kind in ADVICE))
    for kind, advice in ADVICE.items():
        error, seconds = found[f"stub/{kind}"]
        assert advice in error
        assert "\n" not in error
        assert seconds < 10
        assert asked.count(kind) == 1
    assert "Retrying" not in stderr

"""For tests of the plugin: REST clients in process, servers in processes of their own."""

import base64
import contextlib
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
from PIL import Image

from sam3_agent.images import Pixels
from sam3_agent.plugin import Toolkit
from sam3_agent.plugin.middleware import AccessRules
from sam3_agent.plugin.rest import app
from sam3_agent.plugin.work_queue import WorkQueue

ROOT = Path(__file__).parents[1]
DEMO = ROOT / "evals" / "demo"
RED_CARS = DEMO / "red_cars.png"


def png(width: int = 200, height: int = 100, shade: int = 128) -> bytes:
    """The content of a PNG file of one grey."""
    buffer = io.BytesIO()
    Image.fromarray(np.full((height, width, 3), shade, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def noise(width: int, height: int) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def data_uri(content: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


@contextlib.asynccontextmanager
async def rest_client(
    toolkit: Toolkit,
    rules: AccessRules = AccessRules(),  # noqa: B008
) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of a REST server in this process."""
    transport = httpx2.ASGITransport(app(toolkit, WorkQueue(), rules))
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


def assert_discloses_nothing(message: str) -> None:
    """One sentence without a path of this machine, a stack, or the content of a file."""
    for secret in (str(ROOT), tempfile.gettempdir(), "Traceback", "root:", "secret@"):
        assert secret not in message
    assert "\n" not in message.strip()
    assert len(message) < 400


_NUMBER = r"-?[\d.]+(?:e-?\d+)?"
_BOX = rf"{_NUMBER}(?:,{_NUMBER}){{3}}"
_ROW = re.compile(
    rf'(\d+) ("(?:[^"\\]|\\.)*") ({_NUMBER}) \| ({_BOX}) \| ({_BOX}) \| (\d+) \| ({_NUMBER})'
)


def read_report(text: str) -> dict[str, Any]:
    """The values that the text of a result holds, in the form of structured content.

    All but the details, which are in the words.
    """
    head = re.match(r"image (img_[0-9a-f]{24}) \((\d+)x(\d+)\)\n", text)
    assert head, text
    words, _, rest = text[head.end() :].partition("\nstatus: ")
    status, *lines = rest.split("\n")
    return {
        "image": head[1],
        "width": int(head[2]),
        "height": int(head[3]),
        "text": words,
        "status": status,
        "masks": [
            {
                "number": int(row[1]),
                "phrase": json.loads(row[2]),
                "score": float(row[3]),
                "box": [float(value) for value in row[4].split(",")],
                "box_percent": [float(value) for value in row[5].split(",")],
                "area": int(row[6]),
                "area_percent": float(row[7]),
            }
            for row in map(_ROW.fullmatch, lines)
            if row
        ],
    }


def environment(**more: str) -> dict[str, str]:
    """This process's environment without keys and settings of this machine."""
    ours = ("OPENAI_", "GEMINI_", "GOOGLE_", "ANTHROPIC_", "SAM3_AGENT_")
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(ours) and not name.lower().endswith("_proxy")
    }
    tests_own = {"SAM3_AGENT_CONFIG": os.devnull, "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
    return {**kept, **tests_own, **more}


@dataclass(frozen=True)
class Server:
    """A running server: its process, its address, and what it has written to stderr so far."""

    process: subprocess.Popen[str]
    url: str
    stderr: list[str]

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def memory(self) -> float:
        """Resident megabytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found
        return int(found[1]) / 1024

    def stop(self, with_signal: int = signal.SIGTERM) -> int:
        """End it and wait; its exit code."""
        self.process.send_signal(with_signal)
        return self.process.wait(60)


@contextlib.contextmanager
def running(
    command: str, *options: str, port: int = 0, env: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """`sam3-agent mcp` or `serve` on a loopback port, ready to answer."""
    arguments = [sys.executable, "-m", "sam3_agent", command, "--http", f"127.0.0.1:{port}"]
    process = subprocess.Popen(
        [*arguments, *options],
        cwd=ROOT,
        env=environment(**(env or {})),
        stderr=subprocess.PIPE,
        text=True,
    )
    lines: list[str] = []
    assert process.stderr is not None
    reader = threading.Thread(target=lines.extend, args=[process.stderr])
    try:
        found = None
        while found is None:
            lines.append(process.stderr.readline())
            assert lines[-1], "".join(lines)
            found = re.match(r"listening on (http://[\d.:]+)/", lines[-1])
        reader.start()
        yield Server(process, found[1], lines)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(60)
        if reader.ident is not None:
            reader.join(60)
        process.stderr.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])

"""A stage for the plugin's tests: servers in processes of their own, and what clients send them."""

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
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]
DEMO = ROOT / "evals" / "demo"
RED_CARS = DEMO / "red_cars.png"


def png(width: int = 200, height: int = 100, shade: int = 128) -> bytes:
    """The content of a PNG file of one grey."""
    buffer = io.BytesIO()
    Image.fromarray(np.full((height, width, 3), shade, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def data_uri(content: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


_NUMBER = r"-?[\d.]+(?:e-?\d+)?"
_BOX = rf"{_NUMBER}(?:,{_NUMBER}){{3}}"
_ROW = re.compile(
    rf'(\d+) ("(?:[^"\\]|\\.)*") ({_NUMBER}) \| ({_BOX}) \| ({_BOX}) \| (\d+) \| ({_NUMBER})'
)


def read_report(text: str) -> dict[str, Any]:
    """What a model can read in the text of a result: the values that structured content has."""
    head = re.match(r"image (img_[0-9a-f]{24}) \((\d+)x(\d+)\)\n", text)
    assert head, text
    words, _, rest = text[head.end() :].partition("\nstatus: ")
    status, *lines = rest.split("\n")
    details = [line for line in lines if line.startswith("details: ")]
    return {
        "image": head[1],
        "width": int(head[2]),
        "height": int(head[3]),
        "text": words,
        "status": status,
        "details": json.loads(details[0].removeprefix("details: ")) if details else {},
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
    ours_only = {"SAM3_AGENT_CONFIG": os.devnull, "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
    return {**kept, **ours_only, **more}


@dataclass(frozen=True)
class Server:
    """A running server: its process, address and what it has said so far."""

    process: subprocess.Popen[str]
    url: str
    said: list[str]

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
    said: list[str] = []
    assert process.stderr is not None
    reader = threading.Thread(target=said.extend, args=[process.stderr])
    try:
        found = None
        while found is None:
            said.append(process.stderr.readline())
            assert said[-1], "".join(said)
            found = re.match(r"listening on (http://[\d.:]+)/", said[-1])
        reader.start()
        yield Server(process, found[1], said)
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

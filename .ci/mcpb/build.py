"""Packs a wheel into an MCP bundle (.mcpb) that Claude Desktop and others install by a click.

python build.py WHEEL BUNDLE
"""

import sys
import zipfile
from pathlib import Path

HERE = Path(__file__).parent
PROJECT = """\
[project]
name = "sam3-agent-bundle"
version = "{version}"
requires-python = ">=3.11"
dependencies = ["sam3-agent[mcp,openai,gemini]"]

[tool.uv.sources]
sam3-agent = {{ path = "{wheel}" }}
"""


def main(wheel: Path, bundle: Path) -> None:
    """Write the bundle: the manifest, the start program, the wheel, and a project that needs it."""
    version = wheel.name.split("-")[1]
    with zipfile.ZipFile(bundle, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in ("manifest.json", "server.py", "icon.png"):
            packed.write(HERE / name, name)
        packed.writestr("pyproject.toml", PROJECT.format(version=version, wheel=wheel.name))
        packed.write(wheel, wheel.name)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

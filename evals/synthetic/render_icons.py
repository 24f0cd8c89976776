"""Renders the vocabulary's icons into the sprite sheets under evals/icons; run once.

The icons come from npm, in the versions named in evals/icons/LICENSES.md:

    npm install @iconify-json/noto@1.2.9 @iconify-json/noto-v1@1.2.5 \
        @iconify-json/fluent-emoji-flat@1.2.6 @iconify-json/fluent-emoji@1.2.7
    pip install resvg-py
    python -m sam3_agent.evals.synthetic.render_icons node_modules

Nothing else needs npm or resvg: the sheets are committed.
"""

import argparse
import io
import json
from pathlib import Path
from typing import Any

from PIL import Image

from sam3_agent.evals.synthetic.sprites import CELL, COLUMNS, SHEETS, STYLES
from sam3_agent.extras import require
from sam3_agent.model.vocabulary import NOUNS

ICON_NAMES = {
    "fish": "tropical-fish",
    "car": "automobile",
    "boat": "sailboat",
    "apple": "red-apple",
    "book": "closed-book",
    "shirt": "t-shirt",
    "heart": "red-heart",
    "clock": "alarm-clock",
    "tree": "deciduous-tree",
}
"""The names of icons that differ from the noun."""


def icon_svg(icon_set: dict[str, Any], name: str) -> str:
    """Returns the SVG of one icon of an iconify set."""
    while name not in icon_set["icons"]:
        name = icon_set["aliases"][name]["parent"]
    icon = icon_set["icons"][name]
    width = icon.get("width", icon_set.get("width", 16))
    height = icon.get("height", icon_set.get("height", 16))
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="0 0 {width} {height}">{icon["body"]}</svg>'
    )


def render_cell(svg: str) -> Image.Image:
    """Renders one icon as a CELL x CELL RGBA image that its drawn part fills."""
    require("resvg_py", purpose="rendering icons")
    import resvg_py

    png = resvg_py.svg_to_bytes(svg_string=svg, width=4 * CELL)
    drawn = Image.open(io.BytesIO(png)).convert("RGBA")
    drawn = drawn.crop(drawn.getchannel("A").point([0] * 128 + [255] * 128).getbbox())
    scale = CELL / max(drawn.size)
    drawn = drawn.resize((round(drawn.width * scale), round(drawn.height * scale)))
    cell = Image.new("RGBA", (CELL, CELL))
    cell.paste(drawn, ((CELL - drawn.width) // 2, (CELL - drawn.height) // 2))
    return cell


def render_sheet(icon_set: dict[str, Any]) -> Image.Image:
    """Renders all NOUNS of one icon set, row by row in COLUMNS columns."""
    rows = -(-len(NOUNS) // COLUMNS)
    sheet = Image.new("RGBA", (COLUMNS * CELL, rows * CELL))
    for index, noun in enumerate(NOUNS):
        cell = render_cell(icon_svg(icon_set, ICON_NAMES.get(noun, noun)))
        sheet.paste(cell, (index % COLUMNS * CELL, index // COLUMNS * CELL))
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description="Render the sprite sheets of evals/icons.")
    parser.add_argument("node_modules", type=Path, help="the folder that npm installed into")
    folder: Path = parser.parse_args().node_modules
    SHEETS.mkdir(exist_ok=True)
    for style in STYLES:
        source = folder / "@iconify-json" / style / "icons.json"
        sheet = render_sheet(json.loads(source.read_text(encoding="utf-8")))
        sheet.save(SHEETS / f"{style}.png", optimize=True)
        print(SHEETS / f"{style}.png", sheet.size)


if __name__ == "__main__":
    main()

"""Renders a report as one self-contained HTML file, or as a Markdown table."""

from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from typing import Any

from sam3_agent.extras import require
from sam3_agent.sanitize import markdown_text, printable

PREFIXES = {"lisa_": "LISA's protocol", "segzero_": "VisionReasoner's protocol (Seg-Zero's pixels)"}
"""The prefixes of metrics that are computed under several protocols, with their names."""

DASH = "\N{EN DASH}"
"""Stands for a missing value."""

NOT_PERCENT = ("n", "unable", "mae", "rmse", "seconds_per_ask", "cgf1", "count_mae", "count_rmse")
"""Metrics that are not shares of 1, so they are not shown in percent."""

COUNTS = ("n", "unable")
"""The numbers of rows and of unable answers; no metrics."""

SMALLER_IS_BETTER = ("seconds_per_ask", "mae", "rmse", "count_mae", "count_rmse")

MEASURES = {
    "planner_seconds": "seconds in the planner",
    "checks_seconds": "seconds in checks",
    "segmenter_seconds": "seconds in the segmenter",
    "calls": "model calls",
    "input_tokens": "input tokens",
    "cached_tokens": "of them cached",
    "output_tokens": "output tokens",
    "images": "images sent",
    "tool_errors": "tool calls with an error",
}
"""Costs of an answer other than dollars and time."""


def page(content: Mapping[str, Any]) -> str:
    """Renders the HTML page of a report's content; InputError without jinja2."""
    require("jinja2", purpose="a report")
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(value=shown, duration=duration, dollars=dollars, bare=bare)
    environment.filters.update(share=share, setup=setup)
    text = (
        resources.files("sam3_agent.evals.report").joinpath("page.html").read_text(encoding="utf-8")
    )
    content = _printable(content)
    return environment.from_string(text).render(
        report=content,
        comparison=comparison(content),
        columns=_columns(content),
        smaller_is_better=SMALLER_IS_BETTER,
        counts=COUNTS,
        measures=[
            (name, title)
            for name, title in MEASURES.items()
            if any(run["usage"].get(name, {}).get("sum") for run in content["runs"])
        ],
    )


def _printable(value: Any) -> Any:
    """JSON values whose texts turn no direction and hold no control characters."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {_printable(name): _printable(one) for name, one in value.items()}
    return [_printable(one) for one in value] if isinstance(value, list) else value


def markdown(content: Mapping[str, Any]) -> str:
    """Renders one table of the runs and the published results, and the warnings below.

    Texts of run files are shown as they are: without markup, and on one line.
    """
    columns = _columns(content)
    titles = [*map(markdown_text, columns), *reversed(COUNTS), "source"]
    lines = ["| | " + " | ".join(titles) + " |", "|---|" + "---|" * len(titles)]
    for row in comparison(content):
        cells = [_cell(row["cells"].get(name), name) for name in columns]
        counts = [DASH if row[name] is None else str(row[name]) for name in reversed(COUNTS)]
        source = "this run" if row["source"] is None else markdown_text("; ".join(row["notes"]))
        name = markdown_text(row["name"])
        lines.append(f"| {name} | " + " | ".join([*cells, *counts, source]) + " |")
    lines += ["", *(f"- {markdown_text(warning)}" for warning in content["warnings"])]
    return "\n".join([*lines, *_setups(content)])


def _setups(content: Mapping[str, Any]) -> Iterator[str]:
    for run in content["runs"]:
        own = ", ".join(f"{name} {value}" for name, value in setup(run))
        yield "- " + markdown_text(f"{run['name']}: {own}.")


def _cell(cell: Mapping[str, Any] | None, name: str) -> str:
    if cell is None:
        return DASH
    spread = f" ± {shown(cell['sd'], name)} over runs" if cell["sd"] is not None else ""
    return shown(cell["value"], name) + _ends(cell, name) + spread


def comparison(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Makes the rows of the main table: each run under each protocol, then the published ones."""
    rows: list[dict[str, Any]] = []
    for run in content["runs"]:
        for prefix, protocol in _protocols(run["metrics"]).items():
            spread = run["repeats"]["spread"] if run["repeats"] else {}
            cells = {
                name.removeprefix(prefix): {
                    "value": value,
                    "interval": run["intervals"].get(name),
                    "sd": spread.get(name, {}).get("sd"),
                }
                for name, value in run["metrics"].items()
                if name.startswith(prefix) and name not in COUNTS
            }
            name = f"{run['name']}, {protocol}" if protocol else run["name"]
            counts = {count: run["metrics"][count] for count in COUNTS}
            rows.append({"name": name, "cells": cells, **counts, "source": None, "notes": []})
    for one in content["published"]:
        cells = {
            name: {"value": value, "interval": None, "sd": None}
            for name, value in one["metrics"].items()
        }
        notes = [one["source"], f"measured by {one['measured_by']}", one["protocol"]]
        if "differs" in one:
            notes.append("sources differ")
        counts = dict.fromkeys(COUNTS)
        row = {"name": one["system"], "cells": cells, "source": one["source"], "notes": notes}
        rows.append({**row, **counts})
    return rows


def setup(run: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Lists the setup of a run: temperature, image size, prompts, weights, device."""
    own = run["setup"]
    planner, segmenter = own.get("planner", {}), own.get("segmenter", {})
    out = []
    if "temperature" in planner:
        temperature = planner["temperature"]
        out.append(("temperature", "the server's" if temperature is None else f"{temperature:g}"))
    if "picture_side" in planner:
        out.append(("images up to", f"{planner['picture_side']} px"))
    out += [(name, str(own[name])) for name in ("prompts",) if name in own]
    out += [
        (name, str(segmenter[name])) for name in ("weights", "device", "dtype") if name in segmenter
    ]
    return out or [("setup", "not recorded")]


def shown(value: float | None, name: str = "") -> str:
    """Formats a metric: shares in percent, a dash for a missing value."""
    if value is None:
        return DASH
    if name in COUNTS:
        return str(int(value))
    return f"{value:.2f}" if bare(name) in NOT_PERCENT else f"{100 * value:.1f}"


def share(value: float, name: str) -> float:
    """Scales a metric to the length of a bar, 0 to 100; cgf1 has that scale already."""
    return min(max(value if bare(name) in NOT_PERCENT else 100 * value, 0.0), 100.0)


def bare(name: str) -> str:
    """Returns a metric's name without its protocol."""
    for prefix in PREFIXES:
        name = name.removeprefix(prefix)
    return name


def duration(seconds: float | None) -> str:
    """Formats seconds as 0.42 s, 12 s, 3 min 5 s."""
    if seconds is None:
        return DASH
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def dollars(value: float | None) -> str:
    """Formats US dollars, with more digits for small amounts."""
    if value is None:
        return DASH
    return f"${value:.2f}" if value >= 1 or value == 0 else f"${value:.4f}"


def _protocols(metrics: Mapping[str, Any]) -> dict[str, str]:
    found = {
        p: protocol for p, protocol in PREFIXES.items() if any(n.startswith(p) for n in metrics)
    }
    return found or {"": ""}


def _columns(content: Mapping[str, Any]) -> Sequence[str]:
    names = [name for row in comparison(content) for name in row["cells"]]
    return list(dict.fromkeys(names))


def _ends(cell: Mapping[str, Any], name: str) -> str:
    if not cell["interval"]:
        return ""
    low, high = cell["interval"]
    return f" [{shown(low, name)}, {shown(high, name)}]"

"""Reports: the numbers, why samples failed, and a page that asks for nothing else."""

import json
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from sam3_agent.agent import Agent
from sam3_agent.cli import app
from sam3_agent.evals.benchmark import Row
from sam3_agent.evals.benchmarks import read
from sam3_agent.evals.report.failures import ceiling, failure
from sam3_agent.evals.run_file import RunFile
from sam3_agent.evals.runner import chosen, header, run
from sam3_agent.evals.strategies.named import strategy
from sam3_agent.masks import Masks
from sam3_agent.model.offline import OfflinePlanner
from sam3_agent.model.placed import PlacedSegmenter
from sam3_agent.model.vocabulary import NOUNS
from sam3_agent.usage import Usage

SIZE = (20, 20)
Box = tuple[int, int, int, int]


def masks(*boxes: Box) -> Masks:
    dense = np.zeros((len(boxes), *SIZE), np.bool_)
    for one, (x0, y0, x1, y1) in zip(dense, boxes, strict=True):
        one[y0:y1, x0:x1] = True
    return Masks.from_dense(dense)


def row(
    truth: Sequence[Box] | None, pred: Sequence[Box], found: Sequence[Box] = (), **more: Any
) -> Row:
    told = {"status": "answered", "error": None, **more}
    return Row(
        id="a",
        query="q",
        truth=None if truth is None else masks(*truth),
        ignore=None,
        tags={},
        about={},
        pred=masks(*pred),
        found=masks(*(found or pred)),
        text="",
        usage=Usage().to_dict(),
        messages=(),
        **told,
    )


LEFT, RIGHT, BOTH = (0, 0, 8, 8), (10, 0, 18, 8), (0, 0, 18, 8)


@pytest.mark.parametrize(
    ("answered", "score", "expected"),
    [
        (row([LEFT], [LEFT]), 1.0, None),
        (row([LEFT], [], status="failed", error="x"), 0.0, "error"),
        (row([], [], status="failed", error="x"), 1.0, "error"),
        (row([LEFT], [], status="out_of_budget"), 0.0, "gave up"),
        (row([], [LEFT]), 0.0, "false target"),
        (row([LEFT], []), 0.0, "missed"),
        (row([LEFT, (0, 9, 18, 18)], [LEFT]), 0.3, "missed"),
        (row([LEFT], [RIGHT], [LEFT, RIGHT]), 0.0, "wrong pick"),
        (row([LEFT], [RIGHT], [RIGHT, (0, 12, 5, 18)]), 0.0, "wrong concept"),
        (row(None, [LEFT]), 0.0, "wrong"),
    ],
)
def test_a_failure_is_told_by_what_was_answered_and_what_was_found(
    answered: Row, score: float, expected: str | None
) -> None:
    assert failure(answered, score) == expected


def test_the_ceiling_is_the_best_choice_among_the_found_masks() -> None:
    pieces = row([LEFT], [], [(0, 0, 4, 8), (4, 0, 8, 8), BOTH, (0, 4, 20, 20)])
    assert ceiling(pieces) == 1.0
    assert ceiling(row([LEFT], [RIGHT])) == 0.0
    assert ceiling(row([], [LEFT])) == 1.0


def run_of_scenes(
    folder: Path, name: str, limit: int = 16, shard: tuple[int, int] | None = None
) -> None:
    """A run whose eye sees things where none are, so that there is something to tell."""
    places = [(x, y, x + 300, y + 220) for x in (10, 320) for y in (10, 240)]
    eye = PlacedSegmenter({noun: places[i % 2 :] for i, noun in enumerate(NOUNS)})
    options: dict[str, Any] = {"seed": 5, "style": "train", "limit": limit}
    scenes = read("scenes", **options)
    config = {"benchmark": "scenes", "split": None, "options": options, "strategy": name}
    brain = OfflinePlanner()
    config |= {"planner": brain.name, "segmenter": eye.name}
    config["shard"] = None if shard is None else f"{shard[0]}/{shard[1]}"
    samples = chosen(scenes.samples, shard=shard)
    with RunFile(folder, header(config, scenes.samples, len(samples))) as file:
        run(scenes, strategy(name, brain, eye, agent=Agent), samples, file)


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("runs")
    run_of_scenes(folder / "agent", "agent")
    run_of_scenes(folder / "oracle", "oracle")
    return folder / "agent", folder / "oracle"


def told(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["report", *map(str, arguments)])
    return done.exit_code, done.stdout, done.stderr


def test_the_oracle_reaches_the_ceiling_that_the_agents_run_tells(
    two_runs: tuple[Path, Path],
) -> None:
    code, out, _ = told(*two_runs, "--json", "--cases", "1")
    assert code == 0
    agent, oracle = json.loads(out)["runs"]
    assert oracle["metrics"]["giou"] == pytest.approx(agent["ceiling"])
    assert agent["metrics"]["giou"] < agent["ceiling"]
    assert sum(agent["failures"].values()) == sum(s["failure"] is not None for s in _all(two_runs))
    assert set(agent["groups"]["kind"]) >= {"ordinal", "no_target"}
    low, high = agent["intervals"]["giou"]
    assert low < agent["metrics"]["giou"] < high
    assert agent["worst"][0]["score"] == 0
    assert agent["worst"][0]["messages"][0]["role"] == "system"


def test_what_is_wrong_is_never_among_the_best(two_runs: tuple[Path, Path]) -> None:
    _, out, _ = told(two_runs[0], "--json", "--cases", "8")
    (only,) = json.loads(out)["runs"]
    assert sum(only["failures"].values()) > 8, "so many are wrong that not all are the worst"
    assert all(one["failure"] is None for one in only["best"])


def _all(runs: tuple[Path, Path]) -> list[dict[str, Any]]:
    _, out, _ = told(runs[0], "--json", "--cases", "16")
    only = json.loads(out)["runs"][0]
    cases: list[dict[str, Any]] = only["worst"] + only["best"]
    return cases


def test_two_runs_are_compared_sample_by_sample(two_runs: tuple[Path, Path]) -> None:
    _, out, _ = told(*two_runs, "--json", "--cases", "1")
    (change,) = json.loads(out)["differences"]
    giou = change["metrics"]["giou"]
    assert giou["value"] == pytest.approx(giou["after"] - giou["before"])
    assert giou["interval"][0] <= giou["value"] <= giou["interval"][1]
    assert giou["value"] > 0
    assert (change["n"], change["worse"]) == (16, 0)


class Page(HTMLParser):
    """Collects what a page would load, its words, and its tags that were left open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if name in ("src", "href", "srcset", "data", "action", "poster"):
                self.loads.append(value or "")
        if tag not in ("meta", "img", "rect", "line"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("rect", "line"):
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_page_is_whole_and_asks_for_nothing_else(
    two_runs: tuple[Path, Path], tmp_path: Path
) -> None:
    code, out, err = told(*two_runs, "--out", tmp_path / "page.html", "--cases", "2")
    assert code == 0, err
    text = (tmp_path / "page.html").read_text("utf-8")
    page = Page(text)
    assert page.open == []
    assert page.loads
    assert all(url.startswith(("data:image/", "#")) for url in page.loads)
    assert not re.search(r"url\(|@import|<script|<link", text)
    words = " ".join(" ".join(page.words).split())
    for heading in ("Results", "Paired differences", "Failures", "Parts", "Cost and time"):
        assert heading in words
    assert "The whole conversation" in words
    assert out.startswith("| | giou |")


def test_what_a_model_says_cannot_become_markup(tmp_path: Path) -> None:
    run_of_scenes(tmp_path, "agent", 3)
    path = tmp_path / "run.jsonl"
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    for line in lines[1:]:
        line["text"] = line["query"] = "<script>alert(1)</script>"
        line["messages"][1]["text"] = '"><img src=x onerror=alert(1)>'
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    assert told(tmp_path, "--cases", "2")[0] == 0
    text = (tmp_path / "report.html").read_text("utf-8")
    assert "<script" not in text
    assert "<img src=x" not in text


def test_published_rows_stand_beside_a_run_of_the_same_benchmark_and_split() -> None:
    from sam3_agent.evals.report.content import published

    val = published("reasonseg", "val")
    assert {row["split"] for row in val} == {"val"}
    assert val[0]["metrics"] == {"giou": 0.77, "ciou": 0.66}
    assert all(row["source"] for row in val)
    assert published("scenes", None) == []


def test_runs_that_cannot_be_compared_are_refused(tmp_path: Path) -> None:
    run_of_scenes(tmp_path / "a", "agent", 3)
    run_of_scenes(tmp_path / "b", "agent", 4)
    code, out, err = told(tmp_path / "a", tmp_path / "b")
    assert (code, out) == (2, "")
    assert "cannot be in one report: options" in " ".join(err.split())
    assert told(tmp_path / "nowhere")[0] == 2


def test_merge_writes_the_shards_as_one_run(tmp_path: Path) -> None:
    for number in (1, 2):
        run_of_scenes(tmp_path / str(number), "agent", 5, (number, 2))
    parts = [str(tmp_path / "1"), str(tmp_path / "2")]
    done = CliRunner().invoke(app, ["merge", str(tmp_path / "all"), *parts])
    assert (done.exit_code, "5 of 5 samples" in done.stderr) == (0, True)
    half = CliRunner().invoke(app, ["merge", str(tmp_path / "half"), parts[0]])
    assert "1 of 2 shards are not in it" in " ".join(half.stderr.split())
    whole, halves = (
        json.loads(told(*paths, "--json", "--cases", "0")[1])["runs"]
        for paths in ([tmp_path / "all"], parts)
    )
    assert len(halves) == len(whole) == 1
    assert whole[0]["metrics"] == halves[0]["metrics"]
    assert whole[0]["metrics"]["n"] == 5

"""Reports: the numbers, the classes of failures, and a self-contained page."""

import json
import re
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from sam3_agent.agent import Agent
from sam3_agent.cli import app
from sam3_agent.evals.benchmark import Row
from sam3_agent.evals.benchmarks import read
from sam3_agent.evals.report.content import published
from sam3_agent.evals.report.failures import failure, upper_bound
from sam3_agent.evals.report.page import shown
from sam3_agent.evals.results_file import RunFile
from sam3_agent.evals.run_header import new_header
from sam3_agent.evals.runner import run_samples, select_samples
from sam3_agent.evals.solvers import make_solver
from sam3_agent.geometry import Box
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.offline.planner import OfflinePlanner
from sam3_agent.model.vocabulary import NOUNS
from sam3_agent.usage import Usage
from tests.benchmark_folders import (
    FOLDERS,
    answered,
    box_masks,
    packed,
    picture,
    square,
    write_table,
)
from tests.command_line import run, run_json

SIZE = (20, 20)


def row(
    truth: Sequence[Box] | None, pred: Sequence[Box], found: Sequence[Box] = (), **more: Any
) -> Row:
    return Row(
        id="a",
        query="q",
        truth=None if truth is None else box_masks(SIZE, *truth),
        ignore=None,
        tags={},
        about={},
        pred=box_masks(SIZE, *pred),
        found=box_masks(SIZE, *(found or pred)),
        text="",
        usage=Usage().to_dict(),
        messages=(),
        **{"status": "answered", "error": None, **more},
    )


LEFT, RIGHT, BOTH = (0, 0, 8, 8), (10, 0, 18, 8), (0, 0, 18, 8)


@pytest.mark.parametrize(
    ("answered", "score", "expected"),
    [
        (row([LEFT], [LEFT]), 1.0, None),
        (row([LEFT], [], status="failed", error="x"), 0.0, "error"),
        (row([], [], status="failed", error="x"), 1.0, "error"),
        (row([LEFT], [], status="out_of_budget"), 0.0, "gave up"),
        (row([LEFT], [], status="unable"), 0.0, "unable"),
        (row([], [], status="unable"), 1.0, None),
        (row([], [LEFT]), 0.0, "false target"),
        (row([LEFT], []), 0.0, "missed"),
        (row([LEFT, (0, 9, 18, 18)], [LEFT]), 0.3, "missed"),
        (row([LEFT], [RIGHT], [LEFT, RIGHT]), 0.0, "wrong pick"),
        (row([LEFT], [RIGHT], [RIGHT, (0, 12, 5, 18)]), 0.0, "wrong concept"),
        (row(None, [LEFT]), 0.0, "wrong"),
    ],
)
def test_a_failure_is_classified_by_what_was_answered_and_what_was_found(
    answered: Row, score: float, expected: str | None
) -> None:
    assert failure(answered, score) == expected


def test_the_upper_bound_is_the_best_choice_among_the_found_masks() -> None:
    pieces = row([LEFT], [], [(0, 0, 4, 8), (4, 0, 8, 8), BOTH, (0, 4, 20, 20)])
    assert upper_bound(pieces) == 1.0
    assert upper_bound(row([LEFT], [RIGHT])) == 0.0
    assert upper_bound(row([], [LEFT])) == 1.0


def run_of_scenes(
    folder: Path,
    name: str,
    limit: int = 16,
    shard: tuple[int, int] | None = None,
    repeats: int = 1,
    setup: dict[str, Any] | None = None,
) -> None:
    """Writes a run with false positives, whose segmenter finds every noun in fixed places."""
    places = [(x, y, x + 300, y + 220) for x in (10, 320) for y in (10, 240)]
    segmenter = FakeSegmenter({noun: places[i % 2 :] for i, noun in enumerate(NOUNS)})
    options: dict[str, Any] = {"seed": 5, "style": "train", "limit": limit}
    scenes = read("scenes", **options)
    config = {"benchmark": "scenes", "split": None, "options": options, "strategy": name}
    planner = OfflinePlanner()
    config |= {"planner": planner.name, "segmenter": segmenter.name}
    config["shard"] = None if shard is None else f"{shard[0]}/{shard[1]}"
    samples = select_samples(scenes.samples, shard=shard, repeats=repeats)
    with RunFile(folder, new_header(config, scenes.samples, len(samples), setup)) as file:
        run_samples(scenes, make_solver(name, planner, segmenter, agent=Agent), samples, file)


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("runs")
    run_of_scenes(folder / "agent", "agent")
    run_of_scenes(folder / "oracle", "oracle")
    return folder / "agent", folder / "oracle"


def report(*arguments: object) -> tuple[int, str, str]:
    done = run("report", *arguments)
    return done.exit_code, done.stdout, done.stderr


def report_json(*runs: object, cases: int = 0) -> dict[str, Any]:
    return run_json("report", *runs, "--cases", cases)


def edit_rows(folder: Path, change: Callable[[list[dict[str, Any]]], None]) -> None:
    """Changes the rows in a run's file."""
    path = folder / "run.jsonl"
    header, *rows = (json.loads(line) for line in path.read_text("utf-8").splitlines())
    change(rows)
    path.write_text("".join(json.dumps(line) + "\n" for line in [header, *rows]), encoding="utf-8")


NOTHING: dict[str, Any] = {"boxes": [], "scores": [], "phrases": [], "counts": []}
"""What masks without any have in their columns."""


def test_the_oracle_reaches_the_upper_bound_of_the_agents_run(
    two_runs: tuple[Path, Path],
) -> None:
    agent, oracle = report_json(*two_runs, cases=1)["runs"]
    assert oracle["metrics"]["giou"] == pytest.approx(agent["ceiling"])
    assert agent["metrics"]["giou"] < agent["ceiling"]
    (every,) = report_json(two_runs[0], cases=16)["runs"]
    failed = [case for case in every["worst"] + every["best"] if case["failure"]]
    assert sum(agent["failures"].values()) == len(failed)
    assert set(agent["groups"]["kind"]) >= {"ordinal", "no_target"}
    low, high = agent["intervals"]["giou"]
    assert low < agent["metrics"]["giou"] < high
    assert agent["worst"][0]["score"] == 0
    assert agent["worst"][0]["messages"][0]["role"] == "system"


def test_what_is_wrong_is_never_among_the_best(two_runs: tuple[Path, Path]) -> None:
    (only,) = report_json(two_runs[0], cases=8)["runs"]
    assert sum(only["failures"].values()) > 8, "so many are wrong that not all are the worst"
    assert all(one["failure"] is None for one in only["best"])


def test_two_runs_are_compared_sample_by_sample(two_runs: tuple[Path, Path]) -> None:
    (change,) = report_json(*two_runs)["differences"]
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


def test_the_page_is_whole_and_loads_nothing_else(
    two_runs: tuple[Path, Path], tmp_path: Path
) -> None:
    code, out, err = report(*two_runs, "--out", tmp_path / "page.html", "--cases", "2")
    assert code == 0, err
    text = (tmp_path / "page.html").read_text("utf-8")
    page = Page(text)
    assert page.open == []
    assert page.loads
    assert all(url.startswith(("data:image/", "#")) for url in page.loads)
    assert not re.search(r"url\(|@import|<script|<link", text)
    words = " ".join(" ".join(page.words).split())
    for heading in ("Results", "Paired differences", "Failures", "Subsets", "Cost and time"):
        assert heading in words
    assert "The whole conversation" in words
    assert out.startswith("| | giou |")


def test_a_models_text_cannot_become_markup(tmp_path: Path) -> None:
    run_of_scenes(tmp_path, "agent", 3)

    def inject(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            row["text"] = row["query"] = "<script>alert(1)</script>"
            row["messages"][1]["text"] = '"><img src=x onerror=alert(1)>'

    edit_rows(tmp_path, inject)
    assert report(tmp_path, "--cases", "2")[0] == 0
    text = (tmp_path / "report.html").read_text("utf-8")
    assert "<script" not in text
    assert "<img src=x" not in text


def test_published_rows_stand_beside_a_run_of_the_same_benchmark_and_split() -> None:
    val = published("reasonseg", "val")
    assert {row["split"] for row in val} == {"val"}
    assert val[0]["metrics"] == {"giou": 0.77, "ciou": 0.66}
    assert published("scenes", None) == published("reasonseg", None) == []
    assert published("counting", None) == published("saco-gold", "wiki_common") == []


def test_every_published_row_names_its_source_its_protocol_and_who_measured_it() -> None:
    text = resources.files("sam3_agent.evals.report").joinpath("published.json").read_text()
    rows = json.loads(text)["rows"]
    for row in rows:
        assert re.fullmatch(r"arXiv \d{4}\.\d{5}", row["source"])
        assert row["protocol"]
        assert row["measured_by"]
        assert all(
            0 < value <= (100 if name == "cgf1" else 1) for name, value in row["metrics"].items()
        )
    values = {
        (row["benchmark"], row["split"], row["system"], row["measured_by"]): row["metrics"]
        for row in rows
    }
    assert len(values) == len(rows)
    own, rerun = "its authors", "SWiM's authors, a rerun"
    assert values["reasonseg", "val", "Vision Banana + Gemini 2.5 Pro", own] == {"giou": 0.793}
    assert values["refcocog", "val", "Vision Banana", own] == {"ciou": 0.738}
    assert values["reasonseg", "val", "EVOL-SAM3, 7B planner", own] == {"giou": 0.707}
    assert values["reasonseg-x", "test", "SWiM 32B", own] == {"giou": 0.641, "ciou": 0.619}
    qwen = "SAM 3 Agent, Qwen3-VL 8B"
    assert values["reasonseg-r", "test", qwen, rerun] == {"giou": 0.693, "ciou": 0.641}
    (differing,) = [row for row in rows if row["benchmark"] == "omnilabel" and "differs" in row]
    assert all(value in differing["differs"] for value in ("43.1", "45.3", "46.7"))


DATASETS = [
    ("reasonseg", "ReasonSegX_test", {"reasoning_type": "x"}, ("reasonseg-x", "test")),
    ("reasonseg", "ReasonSegX_val", {}, ("reasonseg-x", "val")),
    ("reasonseg", "ReasonSeg_refine", {}, ("reasonseg-r", "test")),
    ("reasonseg", "datasets--Ricky06662--ReasonSeg_test/snapshots/0a1", {}, ("reasonseg", "test")),
    ("reasonseg", "my_own_table", {}, None),
    ("counting", "CountBenchQA", {"question": "How many?", "number": 2}, ("countbench", None)),
    ("counting", "pixmo-count", {"label": "dogs", "count": 2}, ("pixmo-count", None)),
    ("counting", "my_counts", {"question": "How many?", "number": 2}, None),
]


@pytest.mark.parametrize(("name", "folder", "columns", "expected"), DATASETS)
def test_a_table_is_recognised_by_the_folder_in_which_it_is_published(
    tmp_path: Path, name: str, folder: str, columns: dict[str, Any], expected: Any
) -> None:
    raw = picture(tmp_path / "a.png").read_bytes()
    row = {"image": {"bytes": raw, "path": "a.png"}, "text": "what?", "mask": square().tolist(),
           "image_id": "a", "ann_id": "0", "img_height": 20, "img_width": 30} | columns  # fmt: skip
    write_table(tmp_path / folder / "data/test-00000-of-00001.parquet", [row])
    assert read(name, tmp_path / folder).dataset == expected


def test_only_a_whole_set_at_its_own_size_has_published_rows(tmp_path: Path) -> None:
    FOLDERS["refcoco"](tmp_path / "ref")
    assert read("refcoco", tmp_path / "ref").dataset == ("refcoco", "val")
    assert read("refcoco", tmp_path / "ref", "testA").dataset == ("refcoco", "testA")
    assert read("refcoco", tmp_path / "ref", score_size=480).dataset is None
    FOLDERS["saco-gold"](tmp_path / "saco")
    assert read("saco-gold", tmp_path / "saco").dataset == ("saco-gold", None)
    assert read("saco-gold", tmp_path / "saco", "toys").dataset == ("saco-gold", "toys")
    FOLDERS["omnilabel"](tmp_path / "omni")
    assert read("omnilabel", tmp_path / "omni").dataset == ("omnilabel", "val")
    FOLDERS["jsonl"](tmp_path / "own")
    assert read("jsonl", tmp_path / "own").dataset is None
    assert read("scenes", limit=1).dataset is None


def test_average_precisions_are_compared_by_the_mean_score(tmp_path: Path) -> None:
    FOLDERS["omnilabel"](tmp_path / "omni")
    samples = read("omnilabel", tmp_path / "omni").samples
    config = {"benchmark": "omnilabel", "data": str(tmp_path / "omni")}
    for name, masks in (("right", packed(square())), ("empty", packed())):
        with RunFile(tmp_path / name, new_header(config, samples, len(samples))) as file:
            for index, sample in enumerate(samples):
                file.append(index, answered(sample, masks))
    (change,) = report_json(tmp_path / "right", tmp_path / "empty")["differences"]
    # the category has the square as its truth, the description has none
    assert change["metrics"].keys() == {"score"}
    assert (change["metrics"]["score"]["before"], change["metrics"]["score"]["after"]) == (0.5, 0.5)
    assert (change["better"], change["worse"]) == (1, 1)


def test_a_run_that_was_asked_once_is_scored_at_another_size_by_its_report(tmp_path: Path) -> None:
    FOLDERS["refcoco"](tmp_path / "ref")
    benchmark = read("refcoco", tmp_path / "ref")
    config = {"benchmark": "refcoco", "data": str(tmp_path / "ref")}
    rows = [answered(sample, packed(square(x=8))) for sample in benchmark.samples]
    with RunFile(tmp_path / "run", new_header(config, benchmark.samples, len(rows))) as file:
        for index, one in enumerate(rows):
            file.append(index, one)
    own, resized = (
        report_json(tmp_path / "run", *options) for options in ((), ("--score-size", 7))
    )
    assert own["runs"][0]["metrics"]["ciou"] == pytest.approx(7 / 13)
    # of its 30 columns 2, 6, 10, 15, 19, 23 and 27 are left: 6 and 10 against 10 and 15
    assert resized["runs"][0]["metrics"]["ciou"] == pytest.approx(1 / 3)
    assert (len(own["published"]), resized["published"]) == (5, [])
    assert "resized to 7x7" in " ".join(resized["warnings"])


def test_a_part_without_samples_of_a_metric_has_null_and_a_dash(
    two_runs: tuple[Path, Path],
) -> None:
    kinds = report_json(two_runs[0])["runs"][0]["groups"]["kind"]
    assert kinds["ordinal"]["no_target_accuracy"] is None
    assert kinds["no_target"]["ciou"] is None or kinds["no_target"]["ciou"] == 0
    assert kinds["no_target"]["no_target_accuracy"] is not None
    assert shown(None, "no_target_accuracy") == "\N{EN DASH}"


def test_the_spread_over_runs_is_separate_from_the_interval_over_samples(tmp_path: Path) -> None:
    run_of_scenes(tmp_path, "agent", 8, repeats=3)

    def empty_second_repeat(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            if row["repeat"] == 2:
                row["pred"] |= NOTHING

    edit_rows(tmp_path, empty_second_repeat)
    (only,) = report_json(tmp_path)["runs"]
    first, second, third = (one["giou"] for one in only["repeats"]["runs"])
    assert first == third > second
    spread = only["repeats"]["spread"]["giou"]
    assert spread["mean"] == pytest.approx(np.mean([first, second, third]))
    assert spread["mean"] == pytest.approx(only["metrics"]["giou"])
    assert spread["sd"] == pytest.approx(np.std([first, second, third], ddof=1))
    assert (spread["min"], spread["max"]) == (second, first)
    assert only["metrics"]["n"] == 24
    code, table, _ = report(tmp_path, "--markdown", "--cases", "0")
    assert code == 0
    assert f"± {100 * spread['sd']:.1f} over runs" in table
    assert "the spread over runs stands apart" in table
    assert report(tmp_path, "--cases", "1")[0] == 0
    assert "95 % interval over samples" in (tmp_path / "report.html").read_text("utf-8")


def test_repeats_of_one_sample_are_drawn_together(tmp_path: Path) -> None:
    for name, repeats in (("once", 1), ("often", 4)):
        run_of_scenes(tmp_path / name, "agent", 12, repeats=repeats)
    once, often = (
        report_json(tmp_path / name)["runs"][0]["intervals"]["giou"] for name in ("once", "often")
    )
    assert often == pytest.approx(once), "the same answers again make nothing surer"


def test_several_comparisons_have_p_values_corrected_by_holm(two_runs: tuple[Path, Path]) -> None:
    agent, oracle = two_runs
    changes = report_json(agent, oracle, oracle)["differences"]
    giou = [change["metrics"]["giou"] for change in changes]
    assert giou[0]["p"] == giou[1]["p"] < 0.2
    assert [one["p_holm"] for one in giou] == [pytest.approx(2 * giou[0]["p"])] * 2
    _, table, _ = report(agent, oracle, oracle, "--markdown", "--cases", "0")
    assert "2 comparisons with the first run" in table
    (alone,) = report_json(agent, oracle)["differences"]
    assert alone["metrics"]["giou"]["p_holm"] == alone["metrics"]["giou"]["p"]


def test_the_markdown_table_and_the_page_carry_the_same_warnings(tmp_path: Path) -> None:
    made = {"planner": {"temperature": 0.7, "picture_side": 1568}, "prompts": "cafe",
            "segmenter": {"weights": "beef", "device": "cuda", "dtype": "bfloat16"}}  # fmt: skip
    run_of_scenes(tmp_path, "agent", 6, setup=made)

    def spoil(rows: list[dict[str, Any]]) -> None:
        rows.pop()
        for row, status in zip(rows, ("failed", "unable", "unable"), strict=False):
            row |= {"status": status, "error": "PlannerError: x" if status == "failed" else None}
            row["pred"] |= NOTHING

    edit_rows(tmp_path, spoil)
    _, table, _ = report(tmp_path, "--markdown", "--cases", "0")
    report(tmp_path, "--cases", "0")
    page = " ".join(" ".join(Page((tmp_path / "report.html").read_text("utf-8")).words).split())
    warned = [line[2:] for line in table.splitlines() if line.startswith("- ")]
    assert any("1 rows are still missing" in one for one in warned)
    assert any("1 of 5 rows ended in an error" in one for one in warned)
    assert any("2 of 5 rows could not be answered" in one for one in warned)
    assert any("was trained on these samples is not known" in one for one in warned)
    assert all(one in page for one in warned[:-1])
    assert warned[-1].endswith(
        "temperature 0.7, images up to 1568 px, prompts cafe, weights beef, device cuda, "
        "dtype bfloat16."
    )
    for value in ("0.7", "1568 px", "cafe", "beef", "cuda", "bfloat16"):
        assert value in page
    header = table.splitlines()[0]
    assert header.endswith("| unable | n | source |")
    assert "| 2 | 5 | this run |" in table.splitlines()[2]


def test_runs_that_cannot_be_compared_are_refused(tmp_path: Path) -> None:
    run_of_scenes(tmp_path / "a", "agent", 3)
    run_of_scenes(tmp_path / "b", "agent", 4)
    code, out, err = report(tmp_path / "a", tmp_path / "b")
    assert (code, out) == (2, "")
    assert "cannot be in one report: options" in " ".join(err.split())
    assert report(tmp_path / "nowhere")[0] == 2


def test_merge_writes_the_shards_as_one_run(tmp_path: Path) -> None:
    for number in (1, 2):
        run_of_scenes(tmp_path / str(number), "agent", 5, (number, 2))
    parts = [str(tmp_path / "1"), str(tmp_path / "2")]
    done = run("merge", str(tmp_path / "all"), *parts)
    assert (done.exit_code, "5 of 5 samples" in done.stderr) == (0, True)
    half = CliRunner().invoke(app, ["merge", str(tmp_path / "half"), parts[0]])
    assert "1 of 2 shards are not in it" in " ".join(half.stderr.split())
    whole, halves = (report_json(*paths)["runs"] for paths in ([tmp_path / "all"], parts))
    assert len(halves) == len(whole) == 1
    assert whole[0]["metrics"] == halves[0]["metrics"]
    assert whole[0]["metrics"]["n"] == 5

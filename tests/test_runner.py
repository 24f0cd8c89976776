"""The runner and its file: no row is lost and none is asked twice, even after kills."""

import contextlib
import json
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sam3_agent.budget import refuse_if_stopped, sampling_seed
from sam3_agent.errors import InputError, ModelError, PlannerError, StoppedError
from sam3_agent.evals.benchmark import Benchmark, Row, Sample
from sam3_agent.evals.load_results import merged
from sam3_agent.evals.results_file import FILE_NAME, Run, RunFile, read_run, write_run
from sam3_agent.evals.run_header import new_header
from sam3_agent.evals.runner import Progress, run_samples, select_samples
from sam3_agent.evals.solvers.solver import Outcome, accounted
from sam3_agent.evals.summary import summary
from sam3_agent.images import Pixels
from sam3_agent.masks import Masks
from sam3_agent.usage import TokenUsage, Usage
from tests.benchmark_folders import box_masks

SIZE = (20, 30)
ROOT = Path(__file__).parents[1]


def masks(*boxes: tuple[int, int, int, int]) -> Masks:
    scores = [0.9 - i / 7 for i in range(len(boxes))]
    phrases = [f"object {i}" for i in range(len(boxes))]
    return box_masks(SIZE, *boxes, scores=scores, phrases=phrases)


def samples(count: int) -> list[Sample]:
    return [
        Sample(
            id=f"s{number}",
            query=f"question {number}",
            image=lambda: np.zeros((*SIZE, 3), np.uint8),
            truth=masks((0, 0, 5 + number, 5)),
            ignore=masks((0, 0, 2, 2)).rles[0] if number % 2 else None,
            tags={"kind": "odd" if number % 2 else "even"},
            about={"count": number},
        )
        for number in range(count)
    ]


class Questions(Benchmark):
    """A benchmark of `count` samples, scored by whether anything was answered."""

    name: str = "questions"
    samples: Sequence[Sample] = ()

    def __init__(self, count: int) -> None:
        self.samples = samples(count)

    def score(self, row: Row) -> float:
        return float(len(row.pred) > 0)

    def metrics(self, rows: Sequence[Row]) -> dict[str, float]:
        return {"answered": sum(map(self.score, rows)), "n": len(rows)}

    def intervals(self, rows: Sequence[Row]) -> dict[str, tuple[float, float]]:
        return {}


class Solver:
    """Answers every sample with one box at a price; `fails` returns the error of a sample."""

    def __init__(self, fails: Callable[[Sample], Exception | None] = lambda _: None) -> None:
        self.asked: list[str] = []
        self._fails = fails

    def solve(self, image: Pixels, sample: Sample) -> Outcome:
        self.asked.append(sample.id)
        error = self._fails(sample)
        if error:
            raise error
        found = masks((0, 0, 5, 5), (4, 4, 9, 9))
        usage = Usage(turns=2, spent=TokenUsage(calls=2, cost=0.01), seconds=1.5)
        return Outcome(found[[0]], found, "Here.", "answered", usage)


def asked(
    folder: Path,
    solver: Solver,
    count: int = 6,
    config: dict[str, Any] | None = None,
    shard: tuple[int, int] | None = None,
    **options: Any,
) -> Run:
    questions = Questions(count)
    mine = select_samples(questions.samples, shard=shard, repeats=options.pop("repeats", 1))
    new = new_header(
        {"planner": "p", "shard": shard and list(shard), **(config or {})},
        questions.samples,
        len(mine),
    )
    resume = options.pop("resume", False)
    with RunFile(folder, new, resume=resume) as file:
        return run_samples(questions, solver, mine, file, **options)


def content(run: Run) -> list[dict[str, Any]]:
    """The rows as they stand in the file, without times."""
    lines = [json.loads(line) for line in run.path.read_text("utf-8").splitlines()]
    rows = [line for line in lines if line["kind"] == "row"]
    for row in rows:
        row["usage"] = {k: v for k, v in row["usage"].items() if not k.endswith("seconds")}
    return rows


def test_a_row_comes_back_from_the_file_as_it_was(tmp_path: Path) -> None:
    done = asked(tmp_path, Solver(), 3)
    again = read_run(tmp_path)
    assert again.header.config == done.header.config
    assert [row.id for row in again.ordered] == ["s0", "s1", "s2"]
    for one, other in zip(again.ordered, done.ordered, strict=True):
        assert one.pred.rle() == other.pred.rle()
        assert one.found.scores.tolist() == other.found.scores.tolist()
        assert one.truth is not None
        assert other.truth is not None
        assert one.truth.rle() == other.truth.rle()
        assert (one.ignore, one.tags, one.about) == (other.ignore, other.tags, other.about)
        assert (one.text, one.status, one.usage) == (other.text, other.status, other.usage)


def test_rows_are_in_order_whatever_finishes_first(tmp_path: Path) -> None:
    second_done = threading.Event()

    def wait_for_the_second(sample: Sample) -> None:
        if sample.id == "s0":
            assert second_done.wait(20)
        if sample.id == "s1":
            second_done.set()

    done = asked(tmp_path, Solver(wait_for_the_second), 6, workers=3)
    assert [row["id"] for row in content(done)] == [f"s{i}" for i in range(6)]


def test_a_failed_sample_is_a_row_and_is_asked_again_only_by_retry_failed(tmp_path: Path) -> None:
    def fails(sample: Sample) -> Exception | None:
        return PlannerError("no line") if sample.id == "s2" else None

    done = asked(tmp_path, Solver(fails))
    row = done.rows[2]
    assert (row.status, row.error, len(row.pred)) == ("failed", "PlannerError: no line", 0)
    resumed = Solver()
    asked(tmp_path, resumed, resume=True)
    assert resumed.asked == []
    retried = Solver()
    done = asked(tmp_path, retried, resume=True, retry_failed=True)
    assert retried.asked == ["s2"]
    assert [row["status"] for row in content(done)] == ["answered"] * 6


def test_a_bug_in_one_sample_costs_only_this_sample(tmp_path: Path) -> None:
    done = asked(tmp_path, Solver(lambda s: KeyError("x") if s.id == "s1" else None))
    assert "a bug" in (done.rows[1].error or "")
    assert sum(row.status == "answered" for row in done.ordered) == 5


def test_a_model_that_fails_every_sample_ends_the_run(tmp_path: Path) -> None:
    solver = Solver(lambda _: PlannerError("wrong key"))
    with pytest.raises(ModelError, match=r"the first 12 samples all failed.*wrong key"):
        asked(tmp_path, solver, 40)
    assert len(solver.asked) < 20
    assert len(read_run(tmp_path).rows) == 12


def test_samples_in_flight_when_a_run_is_aborted_become_rows_too(tmp_path: Path) -> None:
    solver = Solver(lambda _: PlannerError("wrong key"))
    with pytest.raises(ModelError, match="samples all failed"):
        asked(tmp_path, solver, 40, workers=6)
    assert len(read_run(tmp_path).rows) == len(solver.asked) < 30


def test_an_image_that_is_missing_or_of_another_size_is_a_row_with_its_error(
    tmp_path: Path,
) -> None:
    Image.new("RGB", (9, 9)).save(tmp_path / "small.png")
    bad = [
        Sample("a", "q", tmp_path / "nowhere.png", masks()),
        Sample("b", "q", tmp_path / "small.png", Masks.empty(SIZE)),
    ]
    with RunFile(tmp_path / "run", new_header({}, bad, 2)) as file:
        done = run_samples(Questions(0), Solver(), list(enumerate(bad)), file)
    assert "there is no file" in (done.rows[0].error or "")
    assert "the image is 9x9, its annotation is made for 30x20" in (done.rows[1].error or "")


def test_max_usd_begins_no_sample_once_it_is_spent(tmp_path: Path) -> None:
    solver = Solver()
    done = asked(tmp_path, solver, 20, max_usd=0.035)
    assert len(solver.asked) == 4
    assert len(done.rows) == 4
    assert done.usd == pytest.approx(0.04)
    more = Solver()
    asked(tmp_path, more, 20, max_usd=0.05, resume=True)
    assert more.asked == ["s4"]


class Calls(Solver):
    """Calls a model twice for every sample, at a price each; `on_call` runs before it."""

    def __init__(self, on_call: Callable[[int], None] = lambda _: None) -> None:
        super().__init__()
        self.calls = 0
        self._on_call, self._lock = on_call, threading.Lock()

    def solve(self, image: Pixels, sample: Sample) -> Outcome:
        spent = TokenUsage()
        for _ in range(2):
            with accounted(lambda spent=spent: Usage(spent=spent)):  # type: ignore[misc]
                refuse_if_stopped()
            with self._lock:
                self.calls += 1
                number = self.calls
            self._on_call(number)
            spent += TokenUsage(calls=1, cost=0.5)
        return replace(super().solve(image, sample), usage=Usage(spent=spent))


def test_a_stopped_sample_is_asked_again_and_its_cost_stays_in_the_sum(tmp_path: Path) -> None:
    stop = threading.Event()

    def on_call(number: int) -> None:
        if number == 3:
            stop.set()  # in the first call of the second sample

    solver = Calls(on_call)
    with pytest.raises(StoppedError, match="stopped with 3 samples left to ask"):
        asked(tmp_path, solver, 4, stop=stop)
    assert solver.calls == 3
    there = read_run(tmp_path)
    assert ([row.id for row in there.ordered], dict(there.stopped)) == (["s0"], {1: 0.5})
    assert there.usd == 1.5
    limited = asked(tmp_path, Calls(), 4, resume=True, max_usd=1.5)
    assert (limited.stopped, len(limited.rows), limited.usd) == ({1: 0.5}, 1, 1.5)
    assert read_run(tmp_path).stopped == {1: 0.5}
    done = asked(tmp_path, Calls(), 4, resume=True)
    assert [row.cost for row in done.ordered] == [1.0, 1.5, 1.0, 1.0]
    assert (done.usd, dict(done.stopped)) == (4.5, {})


def test_calls_in_flight_at_a_stop_become_rows_within_the_grace_and_are_given_up_after_it(
    tmp_path: Path,
) -> None:
    stop, release, both_began = threading.Event(), threading.Event(), threading.Barrier(2)

    def on_call(number: int) -> None:
        if number <= 2:
            both_began.wait(60)
        if number == 4:  # the last calls of two samples, since two are asked at a time
            stop.set()
        if number >= 3:
            assert release.wait(60)

    with pytest.raises(StoppedError, match="6 samples left to ask, 2 of them still in flight"):
        asked(tmp_path / "a", Calls(on_call), workers=2, stop=stop, grace=0.0)
    release.set()
    stop.clear()
    with pytest.raises(StoppedError, match="stopped with 4 samples left"):
        asked(tmp_path / "b", Calls(on_call), workers=2, stop=stop)
    assert len(read_run(tmp_path / "b").rows) == 2


def test_ctrl_c_in_the_callers_thread_ends_a_run_and_its_threads_call_no_model(
    tmp_path: Path,
) -> None:
    asking, interrupted = threading.Event(), threading.Event()

    def on_call(number: int) -> None:
        if number > 2:
            asking.set()
            assert interrupted.wait(60)

    def on_progress(at: Progress) -> None:
        if at.done:
            assert asking.wait(60)
            raise KeyboardInterrupt

    solver = Calls(on_call)
    with pytest.raises(KeyboardInterrupt):
        asked(tmp_path, solver, workers=2, on_progress=on_progress)
    before = solver.calls
    interrupted.set()
    while any(thread.name.startswith("sample") for thread in threading.enumerate()):
        threading.Event().wait(0.01)
    assert solver.calls == before


def test_repeats_ask_all_once_before_any_twice_and_each_time_with_a_seed_of_its_own(
    tmp_path: Path,
) -> None:
    seeds: list[tuple[str, int | None]] = []

    def note(sample: Sample) -> None:
        seeds.append((sample.id, sampling_seed.get()))

    done = asked(tmp_path, Solver(note), 2, repeats=3)
    assert seeds == [(f"s{n}", seed) for seed in (1, 2, 3) for n in (0, 1)]
    assert [(row.id, row.repeat) for row in done.ordered] == seeds
    assert sorted(done.rows) == [0, 1, 2, 3, 4, 5]
    again = read_run(tmp_path)
    assert [(row.id, row.repeat) for row in again.ordered] == seeds
    seeds.clear()
    asked(tmp_path / "once", Solver(note), 2)
    assert seeds == [("s0", None), ("s1", None)]


def test_repeats_resume_after_a_kill_and_keep_their_keys_in_shards(tmp_path: Path) -> None:
    whole = content(asked(tmp_path / "whole", Solver(), 5, repeats=2))
    path = asked(tmp_path / "torn", Solver(), 5, repeats=2).path
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:8]))
    solver = Solver()
    assert content(asked(tmp_path / "torn", solver, 5, repeats=2, resume=True)) == whole
    assert solver.asked == ["s2", "s3", "s4"]
    shards = [asked(tmp_path / str(i), Solver(), 5, shard=(i, 2), repeats=2) for i in (1, 2)]
    assert [shard.header.total for shard in shards] == [6, 4]
    write_run(merged(shards), tmp_path / "merged")
    assert content(read_run(tmp_path / "merged")) == whole
    assert [key for key, _ in select_samples(samples(5), limit=2, repeats=2)] == [0, 1, 5, 6]


def test_an_answer_that_is_unable_has_no_masks_and_a_count_of_its_own(tmp_path: Path) -> None:
    class Unable(Solver):
        def solve(self, image: Pixels, sample: Sample) -> Outcome:
            outcome = super().solve(image, sample)
            return replace(outcome, status="unable") if sample.id == "s1" else outcome

    done = asked(tmp_path, Unable(), 3)
    row = done.rows[1]
    assert (row.status, len(row.pred), len(row.found)) == ("unable", 0, 2)
    numbers = summary(Questions(3), done)
    assert numbers["metrics"] == {"answered": 2, "n": 3, "unable": 1}
    assert numbers["groups"]["kind"]["odd"]["unable"] == 1
    assert numbers["groups"]["kind"]["even"]["unable"] == 0


def test_progress_reports_score_cost_and_time_left(tmp_path: Path) -> None:
    reports: list[Progress] = []
    asked(tmp_path, Solver(), 4, on_progress=reports.append)
    assert [at.done for at in reports] == [0, 1, 2, 3, 4]
    assert reports[0].seconds_left is None
    assert reports[-1].seconds_left == 0
    assert reports[-1].score == 1
    assert reports[-1].usd == pytest.approx(0.04)


def test_shards_are_disjoint_and_merge_to_the_whole_run(tmp_path: Path) -> None:
    whole = asked(tmp_path / "whole", Solver(), 7)
    shards = [asked(tmp_path / str(i), Solver(), 7, shard=(i, 3)) for i in (1, 2, 3)]
    assert sorted(len(shard.rows) for shard in shards) == [2, 2, 3]
    write_run(merged(shards), tmp_path / "merged")
    assert content(read_run(tmp_path / "merged")) == content(whole)
    with pytest.raises(InputError, match="is in another shard, too"):
        merged([shards[0], shards[0]])
    other = asked(tmp_path / "other", Solver(), 7, {"planner": "q"}, shard=(2, 3))
    with pytest.raises(InputError, match="planner was 'p' and is 'q'"):
        merged([shards[0], other])


@pytest.mark.parametrize("tail", [b'{"kind":"row","index":3,"id"', b"\x00\x00\n", b"{"])
def test_a_torn_last_line_is_asked_again(tmp_path: Path, tail: bytes) -> None:
    whole = content(asked(tmp_path / "whole", Solver()))
    path = asked(tmp_path / "torn", Solver(), shard=None).path
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:4]) + tail)
    solver = Solver()
    done = asked(tmp_path / "torn", solver, resume=True)
    assert solver.asked == ["s3", "s4", "s5"]
    assert content(done) == whole


def test_a_file_without_a_whole_first_line_is_started_anew(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b'{"kind": "run", "form')
    done = asked(tmp_path, Solver())
    assert len(content(done)) == 6


def test_a_run_is_not_written_over_and_not_resumed_with_another_config(tmp_path: Path) -> None:
    asked(tmp_path, Solver())
    with pytest.raises(InputError, match="holds a run already; continue it"):
        asked(tmp_path, Solver())
    with pytest.raises(InputError, match="planner was 'p' and is 'q'"):
        asked(tmp_path, Solver(), config={"planner": "q"}, resume=True)
    with pytest.raises(InputError, match="samples have changed"):
        asked(tmp_path, Solver(), 7, resume=True)


def test_two_processes_cannot_write_one_run(tmp_path: Path) -> None:
    begun = new_header({}, [], 0)
    with RunFile(tmp_path, begun), pytest.raises(InputError, match="by another process"):
        RunFile(tmp_path, begun, resume=True)


def test_resuming_with_other_code_is_recorded(tmp_path: Path) -> None:
    asked(tmp_path, Solver(), 3)
    path = tmp_path / FILE_NAME
    lines = path.read_text("utf-8").splitlines()
    begun = json.loads(lines[0])
    begun["commit"] = "0123"
    path.write_text("\n".join([json.dumps(begun), *lines[1:3]]) + "\n", encoding="utf-8")
    done = asked(tmp_path, Solver(), 3, resume=True)
    again = read_run(tmp_path)
    assert again.header.commit == "0123"
    assert [one.commit for one in again.header.resumed] == [done.header.resumed[0].commit]
    assert len(again.rows) == 3


def test_resuming_with_another_setup_is_recorded(tmp_path: Path) -> None:
    sample = samples(1)
    cpu = {"segmenter": {"device": "cpu"}}
    with RunFile(tmp_path, new_header({}, sample, 1, cpu)):
        pass
    for _ in range(2):
        with RunFile(
            tmp_path, new_header({}, sample, 1, {"segmenter": {"device": "cuda"}}), resume=True
        ):
            pass
    again = read_run(tmp_path)
    assert again.header.setup == cpu
    assert [one.setup for one in again.header.resumed] == [{"segmenter": {"device": "cuda"}}]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: [b'{"kind":"run","format":"other"}'], "is no run of sam3-agent"),
        (lambda lines: [lines[0].replace(b'"version":1', b'"version":2')], "run of format 2"),
        (lambda lines: [b"[]", *lines[1:]], "line 1"),
        (
            lambda lines: [lines[0].replace(b'"total":6', b'"total":"six"'), *lines[1:]],
            "line 1: is broken: total: Input should be a valid integer",
        ),
        (
            lambda lines: [lines[0].replace(b'"commit"', b'"comit"'), *lines[1:]],
            "line 1: is broken: commit: Field required",
        ),
        (
            lambda lines: [*lines[:2], b'{"kind":"resumed","versions":3,"commit":null}', *lines],
            "line 3: is broken: versions: Input should be a valid dictionary",
        ),
        (lambda lines: [lines[0], b"{half", *lines[2:]], "line 2: is no line of a run"),
        (lambda lines: [lines[0], b'{"kind":"row"}', *lines[2:]], "line 2: is broken"),
        (lambda lines: [lines[0], lines[1].replace(b"[20,30]", b"[20,31]", 1)], "line 2"),
        (lambda lines: [lines[0], lines[1].replace(b'"scores":[', b'"scores":[NaN,')], "line 2"),
        (lambda lines: [b"\xff\xfe"], "line 1"),
        (lambda lines: [], "holds no run"),
    ],
)
def test_a_file_that_is_no_run_is_refused_with_file_and_line(
    tmp_path: Path, change: Callable[[list[bytes]], list[bytes]], message: str
) -> None:
    path = asked(tmp_path, Solver()).path
    lines = change(path.read_bytes().splitlines())
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    with pytest.raises(InputError, match=message):
        read_run(tmp_path)
    with pytest.raises(InputError, match="cannot be read"):
        read_run(tmp_path / "nowhere")


BEFORE = (
    {"kind": "run", "format": "sam3-agent run", "version": 1, "samples": "5f", "total": 1,
     "config": {"benchmark": "scenes", "strategy": "agent", "planner": "offline"},
     "versions": {"python": "3.11"}, "commit": None, "began": "2026-11-20T10:00:00+00:00"},
    {"kind": "resumed", "versions": {"python": "3.12"}, "commit": "ab+"},
    {"kind": "row", "index": 0, "id": "s0", "query": "q", "tags": {}, "about": {}, "text": "No.",
     "truth": None, "ignore": {"size": [20, 30], "counts": "hb0"}, "status": "no_target",
     "pred": {"size": [20, 30], "boxes": [], "scores": [], "phrases": [], "counts": []},
     "found": {"size": [20, 30], "boxes": [], "scores": [], "phrases": [], "counts": []},
     "error": None, "usage": {"cost": 0.5}, "messages": []},
)  # fmt: skip
"""A run as the first version wrote it, without setup, repeat and earlier cost."""


def test_a_run_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("".join(json.dumps(line) + "\n" for line in BEFORE), "utf-8")
    old = read_run(tmp_path)
    assert old.header.config["strategy"] == "agent"
    assert [(one.commit, one.setup) for one in old.header.resumed] == [("ab+", {})]
    assert (old.rows[0].repeat, old.rows[0].cost, old.header.setup) == (1, 0.5, {})


def test_ids_that_come_twice_and_shards_that_are_none_are_refused() -> None:
    twice = [*samples(2), *samples(1)]
    with pytest.raises(InputError, match="two samples with the id 's0'"):
        select_samples(twice)
    with pytest.raises(InputError, match="no shard 3/2"):
        select_samples(samples(2), shard=(3, 2))


def test_a_run_killed_five_times_equals_an_undisturbed_one(tmp_path: Path) -> None:
    limit, rng = 40, random.Random()
    program = [sys.executable, "-m", "tests.eval_program"]
    subprocess.run([*program, str(tmp_path / "whole"), str(limit)], cwd=ROOT, check=True)
    path = tmp_path / "killed" / FILE_NAME
    for number in range(5):
        enough = 1 + rng.randrange(limit // 6) + number * limit // 6
        process = subprocess.Popen([*program, str(path.parent), str(limit)], cwd=ROOT)
        while process.poll() is None and (not path.exists() or lines_in(path) < enough):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.01)
        assert process.poll() is None, "it was finished before it could be killed"
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run([*program, str(path.parent), str(limit)], cwd=ROOT, check=True)
    assert content(read_run(path)) == content(read_run(tmp_path / "whole"))
    assert len(content(read_run(path))) == limit


def lines_in(path: Path) -> int:
    return path.read_bytes().count(b"\n")


def test_a_header_records_the_code_and_its_versions() -> None:
    begun = new_header({"seed": 3}, [], 0)
    assert {"python", "sam3-agent", "torch"} <= set(begun.versions)
    assert begun.commit is None or len(begun.commit.rstrip("+")) == 40

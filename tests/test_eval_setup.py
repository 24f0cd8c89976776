"""The recorded setup of a run, sampling seeds of repeats, and `eval --repeats` as a whole."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sam3_agent import registry
from sam3_agent.budget import sampling_seed
from sam3_agent.evals.metrics import saco
from sam3_agent.evals.results_file import read_run
from sam3_agent.evals.setup import setup
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.offline.planner import OfflinePlanner
from sam3_agent.model.providers.gemini import GeminiPlanner
from tests.benchmark_folders import FOLDERS
from tests.command_line import run
from tests.gemini_fixtures import ANSWER as GEMINI_ANSWER
from tests.gemini_fixtures import MockGemini
from tests.openai_fixtures import ANSWER, QUESTION, Server, fails, planner


@pytest.fixture
def seeded() -> Iterator[int]:
    token = sampling_seed.set(3)
    yield 3
    sampling_seed.reset(token)


def test_the_setup_of_a_run_records_what_decides_its_numbers() -> None:
    recorded = setup(planner(Server(), temperature=0.2, max_side=700), registry.segmenter("tiny"))
    assert recorded["planner"]["temperature"] == 0.2
    assert recorded["planner"]["picture_side"] == 700
    segmenter = recorded["segmenter"]
    assert (segmenter["device"], segmenter["dtype"]) == ("cpu", "float32")
    assert segmenter["threshold"] == 0.5
    assert len(segmenter["weights"]) == len(recorded["prompts"]) == 16
    assert json.loads(json.dumps(recorded)) == recorded


def test_the_hash_of_the_weights_is_that_of_their_values() -> None:
    from sam3_agent.model.checkpoints import load_checkpoint, weights_digest

    first, second = load_checkpoint("tiny").model, load_checkpoint("tiny").model
    assert weights_digest(first) == weights_digest(second)
    next(second.parameters()).data.flatten()[0] += 1
    assert weights_digest(first) != weights_digest(second)
    assert weights_digest(first.half()) != weights_digest(load_checkpoint("tiny").model)


def test_a_planner_and_a_segmenter_may_have_no_settings() -> None:
    recorded = setup(OfflinePlanner(), FakeSegmenter({}))
    assert recorded == {"planner": {}, "segmenter": {}, "prompts": recorded["prompts"]}
    assert setup(None, FakeSegmenter({})) == {"segmenter": {}}


def test_the_temperature_of_a_servers_default_is_none() -> None:
    assert setup(planner(Server()), FakeSegmenter({}))["planner"]["temperature"] is None
    gemini = GeminiPlanner("gemini-3.8-flash", api_key="k", temperature=0.0)
    assert setup(gemini, FakeSegmenter({}))["planner"]["temperature"] == 0.0


def test_a_repeated_ask_has_its_seed_in_the_request(seeded: int) -> None:
    server = Server(ANSWER)
    planner(server).reply(QUESTION, ())
    assert server.bodies[0]["seed"] == seeded
    gemini = MockGemini(GEMINI_ANSWER)
    gemini.reply()
    assert gemini.bodies[0]["generationConfig"]["seed"] == seeded


def test_a_single_ask_has_no_seed() -> None:
    server = Server(ANSWER)
    planner(server).reply(QUESTION, ())
    assert "seed" not in server.bodies[0]
    gemini = MockGemini(GEMINI_ANSWER)
    gemini.reply()
    assert "seed" not in gemini.bodies[0]["generationConfig"]


def test_a_server_that_refuses_a_seed_is_asked_without(seeded: int) -> None:
    server = Server(fails(400, "Unsupported parameter: 'seed'"), ANSWER, ANSWER)
    model = planner(server)
    model.reply(QUESTION, ())
    model.reply(QUESTION, ())
    assert ["seed" in body for body in server.bodies] == [True, False, False]


def run_eval(*arguments: object) -> tuple[int, dict[str, Any], str]:
    done = run("eval", *arguments, "--json")
    return done.exit_code, json.loads(done.stdout or "{}"), done.stderr


def test_eval_repeats_every_sample_and_resumes_after_a_kill(tmp_path: Path) -> None:
    asks = ("scenes", "--limit", 3, "--repeats", 2, "--out", tmp_path)
    code, report, _ = run_eval(*asks)
    assert code == 0
    assert report["metrics"]["n"] == 6
    first, second = report["repeats"]["runs"]
    assert first["giou"] == second["giou"], "the offline planner is the same every time"
    assert report["repeats"]["spread"]["giou"]["sd"] == 0
    whole = read_run(tmp_path)
    assert whole.header.setup["segmenter"]["device"] == "cpu"
    assert [(row.id, row.repeat) for row in whole.ordered] == [
        (row.id, repeat) for repeat in (1, 2) for row in whole.ordered[:3]
    ]
    lines = whole.path.read_bytes().splitlines(keepends=True)
    whole.path.write_bytes(b"".join(lines[:5]))
    code, again, _ = run_eval(*asks, "--resume")
    assert (code, again["metrics"]["giou"]) == (0, report["metrics"]["giou"])
    code, _, error = run_eval("scenes", "--limit", 3, "--out", tmp_path, "--resume")
    assert code == 2
    assert "repeats was 2 and is None" in " ".join(error.split())


def test_a_part_without_samples_of_a_metric_is_null_in_json_and_a_dash_in_text(
    tmp_path: Path,
) -> None:
    arguments = ("scenes", "--limit", 3, "--out", tmp_path)
    done = run("eval", *arguments)
    assert done.exit_code == 0, done.stderr
    assert "no_target_accuracy \N{EN DASH}" in done.stdout
    assert "unable 0" in done.stdout
    _, report, _ = run_eval(*arguments, "--resume")
    assert report["metrics"]["no_target_accuracy"] is None
    assert "no_target_accuracy" not in report["intervals"]


def test_eval_of_saco_writes_what_the_authors_evaluator_reads(tmp_path: Path) -> None:
    FOLDERS["saco-gold"](tmp_path)
    out = tmp_path / "out"
    options = ("--data", tmp_path, "--baseline", "segmenter", "--repeats", 2, "--out", out)
    code, _, error = run_eval("saco-gold", *options)
    assert code == 0, error
    for name in ("predictions_toys.json", "predictions_toys_2.json"):
        truths = sorted(tmp_path.glob("gold_toys_*.json"))
        assert len(saco(truths, out / name)) == 26


def test_a_size_to_compare_masks_at_is_for_referring_benchmarks(tmp_path: Path) -> None:
    code, _, error = run_eval("scenes", "--limit", 1, "--score-size", 480, "--out", tmp_path)
    assert code == 2
    assert "--score-size is for refcoco" in " ".join(error.split())

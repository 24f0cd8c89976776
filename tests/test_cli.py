"""The command line: one JSON object on stdout, the rest on stderr, exit codes, help."""

import base64
import json
import os
import re
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco
from typer.testing import CliRunner

import sam3_agent
from sam3_agent.cli import COMMANDS, app
from sam3_agent.evals.synthetic.annotated_set import read_set
from tests.command_line import python, run, run_json

ROOT = Path(__file__).parents[1]
DEMO = ROOT / "evals" / "demo"
RED_CARS = str(DEMO / "red_cars.png")
UNPRICED = ["eval", "scenes", "--limit", "1", "--max-usd", "1"]


def test_ask_prints_one_json_object_whose_mask_overlaps_the_truth() -> None:
    (scene,) = (one for one in read_set(DEMO) if one.file_name == "red_cars.png")
    (query,) = (one for one in scene.queries if one.text == "the leftmost red car")
    out = run_json("ask", RED_CARS, query.text)
    assert out["status"] == "answered"
    (instance,) = out["instances"]
    found = coco.decode(instance["segmentation"]).astype(bool)
    truth = scene.scene.mask(query.targets[0])
    assert (found & truth).sum() / (found | truth).sum() > 0.6


def test_progress_and_models_are_printed_on_stderr_and_the_answer_on_stdout() -> None:
    done = run("ask", RED_CARS, "how many red cars are there?")
    assert done.exit_code == 0
    assert "planner offline" in done.stderr
    assert "change with --planner" in done.stderr
    assert "segmenter tiny" in done.stderr
    assert "turn 1 of 12" in done.stderr
    assert "There are 3 red cars." in done.stdout
    assert "planner" not in done.stdout


def test_out_leaves_the_overlay_the_json_and_the_masks(tmp_path: Path) -> None:
    out = run_json("ask", RED_CARS, "the red cars", "--out", str(tmp_path))
    masks = {f"mask_{instance['number']}.png" for instance in out["instances"]}
    assert {path.name for path in tmp_path.iterdir()} == masks | {"answer.json", "overlay.png"}
    assert json.loads((tmp_path / "answer.json").read_text("utf-8")) == out


def test_nothing_found_is_a_finished_run() -> None:
    out = run_json("ask", RED_CARS, "is there an elephant?")
    assert (out["status"], out["instances"]) == ("no_target", [])


def test_noise_is_answered_without_an_error(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "photo.jpg")
    out = run_json("ask", str(tmp_path / "photo.jpg"), "the leftmost red car", "--any-image")
    assert out["status"] in ("answered", "no_target")
    assert out["text"]


def test_segment_finds_every_instance_and_reports_the_presence() -> None:
    out = run_json("segment", RED_CARS, "red car", "elephant")
    assert [instance["phrase"] for instance in out["instances"]] == ["red car"] * 3
    assert out["presence"]["red car"] > 0.5 > out["presence"]["elephant"]
    everything = run_json("segment", RED_CARS, "red car", "--threshold", "0.01")
    assert len(everything["instances"]) >= 3


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["ask", "missing.png", "the car"], 2, "there is no file missing.png"),
        (["ask", RED_CARS, " "], 2, "the question is empty"),
        (["ask", RED_CARS, "x", "--planner", "magic"], 2, "there is no planner 'magic'"),
        (["ask", RED_CARS, "x", "--planner", "openai:m"], 3, "set OPENAI_API_KEY"),
        (["ask", RED_CARS, "x", "--segmenter", "./nowhere"], 2, "no segmenter './nowhere'"),
        (["ask", RED_CARS, "x", "--max-megapixels", "0.1"], 2, "the limit is 0.1"),
        (["ask", RED_CARS, "x", "--max-usd", "-1"], 2, "budget of usd is -1"),
        (["ask", RED_CARS, "x", "--price", "1,2"], 2, "--price is '1,2'"),
        (
            ["ask", RED_CARS, "x", "--verifier", "openai:m", "--verifier-price", "1"],
            2,
            "--verifier-price is '1'",
        ),
        (["ask", RED_CARS, "x", "--tool-calls", "smoke"], 2, "choose native or text"),
        (["ask", RED_CARS], 2, "Missing argument"),
        (["segment", RED_CARS, "  "], 2, "phrase is empty"),
        (["segment", RED_CARS, "zebra " * 40], 2, "SAM 3 reads at most 32"),
        (["segment", RED_CARS, "--point", "3,3"], 2, "such as +20,30"),
        (["segment", RED_CARS, "--exemplar", "1,2,3,4"], 2, "such as +20,30,90,80"),
        (["replay", "nowhere"], 2, "holds no recording"),
        (["eval", "moon"], 2, "scenes"),
        (["eval", "scenes", "--concepts", "--solver", "segmenter"], 2, "takes no --solver"),
        (["eval", "scenes", "--baseline", "mllm", "--solver", "agent"], 2, "only one of them"),
        (["eval", "scenes", "--limit", "1", "--baseline", "mllm"], 2, "needs an MLLM"),
        (["eval", "scenes", "--limit", "1", "--resume"], 2, "need the run's folder"),
        (["eval", "scenes", "--limit", "1", "--shard", "2"], 2, "it is I/N, such as 1/4"),
        (["eval", "scenes", "--limit", "1", "--data", "."], 2, "made from a seed"),
        ([*UNPRICED, "--planner", "gemini:m"], 2, "the price of gemini:m is not known"),
        ([*UNPRICED, "--verifier", "gemini:m"], 2, "the price of gemini:m is not known"),
    ],
)
def test_bad_input_says_what_was_wrong_and_leaves_stdout_empty(
    arguments: list[str], code: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("GEMINI_API_KEY", "none")
    done = run(*arguments)
    assert message in " ".join(done.stderr.replace("│", " ").split())
    assert done.exit_code == code
    assert done.stdout == ""


def test_an_image_is_a_file_url_a_data_url_or_in_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    content = Path(RED_CARS).read_bytes()
    (tmp_path / "cars.png").write_bytes(content)
    data_url = "data:image/png;base64," + base64.b64encode(content).decode()
    for image in ("~/cars.png", (tmp_path / "cars.png").as_uri(), data_url):
        assert len(run_json("segment", image, "red car")["instances"]) == 3
    done = run("ask", data_url[:-5] + "*", "red cars")
    assert done.exit_code == 2
    assert len(done.stderr) < 300


@pytest.mark.parametrize("charset", ["cp1252", "latin-1", "shift_jis"])
def test_a_console_without_the_letters_of_an_answer_shows_them_by_number(charset: str) -> None:
    runner = CliRunner(charset=charset)
    question = "wo sind 红色的 🚗?"
    done = runner.invoke(app, ["ask", RED_CARS, question])
    assert (done.exit_code, done.exception) == (0, None)
    assert "\\u7ea2" in done.stdout
    found = runner.invoke(app, ["segment", RED_CARS, "car 🚗", "red car"])
    assert (found.exit_code, found.exception) == (0, None)
    assert "red car" in found.stdout
    shown = runner.invoke(app, ["ask", RED_CARS, question, "--json"])
    assert json.loads(shown.stdout)["query"] == question


def test_arguments_that_are_not_utf_8_end_well(tmp_path: Path) -> None:
    latin = os.fsdecode("caf\xe9".encode("latin-1"))
    done = run("segment", RED_CARS, latin)
    assert done.exit_code == 2
    assert "the phrase 'caf\\udce9' is not UTF-8 text" in done.stderr
    asked = run_json("ask", RED_CARS, f"where is the {latin}?", "--out", str(tmp_path))
    assert asked["query"] == "where is the caf??"
    assert run("ask", f"{latin}.png", "red cars").exit_code == 2
    assert run("ask", RED_CARS, "red cars", "--planner", latin).exit_code == 2
    named = tmp_path / f"{latin}.png"
    shutil.copy(RED_CARS, named)
    out = run("ask", str(named), "red cars", "--out", str(tmp_path / latin))
    assert out.exit_code == 0
    assert (tmp_path / latin / "answer.json").exists()


def test_progress_and_results_name_their_units() -> None:
    done = run("ask", RED_CARS, "the leftmost red car")
    assert re.search(r"score 1\.00  box \d+,\d+,\d+,\d+ px  area \d+ px", done.stdout)
    assert re.search(r"no model calls; \d+\.\d s \(segmenter \d+\.\d s\)", done.stderr)


def test_a_recorded_ask_is_replayed(tmp_path: Path) -> None:
    first = run_json("ask", RED_CARS, "the largest red car", "--record", str(tmp_path))
    again = run_json("replay", str(tmp_path))
    for out in (first, again):
        out["usage"] = {k: v for k, v in out["usage"].items() if "seconds" not in k}
    assert again == first


def test_doctor_reports_what_would_run_and_fails_when_something_is_missing() -> None:
    fine = run_json("doctor")
    assert fine["ok"]
    found = {check["what"]: check["said"] for check in fine["checks"]}
    assert found["planner"] == "offline"
    assert found["segmenter"].startswith("tiny on cpu")
    broken = run("doctor", "--planner", "gemini:x")
    assert broken.exit_code == 3
    assert "GEMINI_API_KEY" in broken.stdout


def test_doctor_live_sends_one_question_through_the_planner() -> None:
    checks = run_json("doctor", "--live")["checks"]
    assert checks[-1]["what"] == "live"
    assert "called segment" in checks[-1]["said"]


def test_eval_scenes_prints_the_promised_metrics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out = run_json("eval", "scenes", "--seed", "7", "--limit", "8")
    promised = {"giou", "ciou", "n", "no_target_accuracy", "seconds_per_ask"}
    assert set(out["metrics"]) == promised | {
        "unable"
    }  # a question has a word that tiny does not know
    assert out["metrics"]["n"] == 8
    assert set(out["kinds"]) == {
        *("attribute", "superlative", "ordinal", "relation"),
        *("exclusion", "union", "counting", "no_target"),
    }
    again = run_json("eval", "scenes", "--seed", "7", "--limit", "8")
    assert again["metrics"]["giou"] == out["metrics"]["giou"]
    assert len(list(tmp_path.glob("runs/scenes-agent-*/run.jsonl"))) == 2


def test_eval_scenes_scores_the_segmenter_alone_and_as_a_solver(tmp_path: Path) -> None:
    concepts = run_json("eval", "scenes", "--limit", "3", "--concepts")["metrics"]
    assert {"cgf1", "pmf1", "il_mcc", "presence_accuracy", "count_accuracy"} <= set(concepts)
    assert concepts["n"] == 12
    runs = [
        run_json("eval", "scenes", "--limit", "8", name, "segmenter", "--out", str(tmp_path / name))
        for name in ("--solver", "--baseline")
    ]
    assert [one["config"]["strategy"] for one in runs] == ["segmenter"] * 2
    assert runs[0]["config"]["planner"] == "none"
    assert runs[0]["metrics"]["giou"] == runs[1]["metrics"]["giou"]


def test_the_version_is_printed_and_that_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert sam3_agent.__version__ == project["version"]
    done = run("--version")
    assert (done.exit_code, done.stdout) == (0, f"sam3-agent {project['version']}\n")


def test_the_overview_has_the_first_line_of_the_help_of_every_command() -> None:
    shown = " ".join(run("--help").stdout.replace("│", " ").split())
    for name, (_, line) in COMMANDS.items():
        assert f"{name} {line}" in shown
        assert line in " ".join(run(name, "--help").stdout.split()), name


def test_a_paragraph_of_help_is_wrapped_by_the_terminal_not_by_the_source() -> None:
    wide = CliRunner(env={"COLUMNS": "500", "TERMINAL_WIDTH": "500"}).invoke(
        app, ["eval", "--help"]
    )
    (paragraph,) = (line for line in wide.stdout.splitlines() if "checked before anything" in line)
    assert "makes a page of it." in paragraph


def test_defaults_are_shown_once() -> None:
    for name in COMMANDS:
        for row in run(name, "--help").stdout.split("--")[1:]:
            assert row.lower().count("default:") <= 1, row


def test_options_that_commands_share_are_the_same_everywhere() -> None:
    helps = [run(name, "--help").stdout for name in ("ask", "mcp", "serve", "eval")]
    for option in ("planner", "segmenter", "effort", "verifier", "tool-calls", "price"):
        assert all(f"--{option} " in one for one in helps), option


BAD_INPUT = [
    ("ask", RED_CARS, " "),
    ("ask", "missing.png", "the car"),
    ("ask", __file__, "the car"),
    ("ask", RED_CARS, "x", "--planner", "opnai:gpt-5.4"),
    ("ask", RED_CARS, "x", "--segmenter", "sam3"),
    ("ask", RED_CARS, "x", "--segmenter", "./nowhere"),
    ("ask", RED_CARS, "x", "--segmenter", "open:huge"),
    ("ask", RED_CARS, "x", "--verifier", "magic"),
    ("ask", RED_CARS, "x", "--verifier", "offline"),
    ("ask", RED_CARS, "x", "--price", "1,1,1"),
    ("ask", RED_CARS, "x", "--tool-calls", "text"),
    ("ask", RED_CARS, "x", "--effort", "huge"),
    ("ask", RED_CARS, "x", "--out", __file__),
    ("ask", RED_CARS, "x", "--record", f"{__file__}/record"),
    ("segment", RED_CARS, "  "),
    ("segment", RED_CARS, "car", "--region", "1000,1000,3000,3000"),
    ("segment", RED_CARS, "car", "--region", "10,10,11,11"),
    ("segment", RED_CARS, "car", "--exemplar", "+9,9,3,4"),
    ("segment", RED_CARS, "car", "--exemplar", "+1,2,3,4", "--segmenter", "open:tiny"),
    ("segment", RED_CARS, "--point", "+9999,2"),
    ("replay", "nowhere"),
    ("mcp", "--root", "/no/where"),
    ("mcp", "--http", "abc"),
    ("mcp",),  # its extra is missing
    ("serve", "--segmenter", "sam9"),
    ("serve", "--http", "256.1.1.1:80"),
    ("serve",),
    ("eval", "moon"),
    ("eval", "scenes", "--solver", "magic"),
    ("eval", "scenes", "--solver", "mllm"),
    ("eval", "scenes", "--shard", "5/4"),
    ("eval", "scenes", "--boxes", "zz"),
    ("eval", "scenes", "--resume"),
    ("eval", "scenes", "--verifier", "magic"),
    ("report", "nowhere"),
    ("bench", "moon"),
    ("doctor", "--planner", "magic"),
    ("doctor", "--segmenter", "sam9"),
]
NO_KEY = [("ask", RED_CARS, "x", "--planner", f"{name}:m") for name in ("openai", "gemini")]
HELP = [(*name, "--help") for name in [(), *((name,) for name in COMMANDS)]]

PROGRAM = """
import json, sys
sys.modules.update({"mcp": None, "fastapi": None})  # as where the extras are missing
from typer.testing import CliRunner
import sam3_agent
from sam3_agent.cli import COMMANDS, app
heavy = {"torch", "transformers", "openai", "google.genai", "starlette", "scipy"}
for arguments in json.loads(sys.argv[1]):
    done = CliRunner().invoke(app, arguments)
    print(json.dumps([done.exit_code, sorted(heavy & set(sys.modules)), done.output]))
"""


@pytest.mark.parametrize(
    ("arguments", "near"),
    [
        (("eval", "scenes", "--solver", "agnet"), "no solver 'agnet' (did you mean 'agent'?)"),
        (("mcp", "--config", "cursr"), "no client 'cursr' (did you mean 'cursor'?)"),
        (("eval", "scnes"), "no benchmark 'scnes' (did you mean 'scenes'?)"),
    ],
)
def test_a_wrong_name_suggests_the_nearest(arguments: tuple[str, ...], near: str) -> None:
    done = CliRunner().invoke(app, arguments)
    assert (done.exit_code, near in done.stderr) == (2, True)


def test_help_and_bad_input_are_answered_without_a_heavy_library(tmp_path: Path) -> None:
    cases = [*HELP, *BAD_INPUT, *NO_KEY]
    done = python("-c", PROGRAM, json.dumps(cases), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    codes = [0] * len(HELP) + [2] * len(BAD_INPUT) + [3] * len(NO_KEY)
    for case, code, line in zip(cases, codes, done.stdout.splitlines(), strict=True):
        exit_code, loaded, output = json.loads(line)
        assert (exit_code, loaded) == (code, []), (case, output)


def test_a_run_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "run.jsonl").write_text("{}\n", encoding="utf-8")
    done = run("eval", "scenes", "--limit", "1", "--out", str(tmp_path))
    assert (done.exit_code, "holds a run already" in done.stderr) == (2, True)


def test_a_status_other_than_answered_is_printed() -> None:
    assert "status: no_target" in run("ask", RED_CARS, "is there an elephant?").stdout
    assert "status" not in run("ask", RED_CARS, "the red cars").stdout


def test_the_settings_of_a_client_keep_every_option_that_was_given(tmp_path: Path) -> None:
    given = ["--planner", "openai:m", "--timeout", "60.0", "--root", str(tmp_path), "--no-urls"]
    done = run("mcp", "--config", "codex", *given, "--structured", "--token", "secret")
    (line,) = (one for one in done.stdout.splitlines() if one.startswith("args = "))
    given = ["--planner", "openai:m", "--root", str(tmp_path), "--no-urls", "--timeout", "60.0"]
    assert json.loads(line.removeprefix("args = "))[3:] == [*given, "--structured"]


def test_a_benchmark_of_the_machine_prints_its_name_before_it_runs() -> None:
    done = run("bench", "pictures", "--masks", "2", "--json")
    assert done.stderr.splitlines()[0] == "pictures ..."
    assert json.loads(done.stdout)["rows"]


def test_a_librarys_warning_about_broken_exif_is_no_line_on_stderr(tmp_path: Path) -> None:
    exif = b"Exif\0\0II*\0\x08\0\0\0\2\0\x12\1\3\0\1\0\0\0\6\0\0\0"  # cut short
    Image.new("RGB", (9, 9)).save(tmp_path / "cut.png", exif=exif)
    done = python("-m", "sam3_agent", "segment", tmp_path / "cut.png", "dog")
    assert done.returncode == 0, done.stderr
    assert "EXIF" not in done.stderr

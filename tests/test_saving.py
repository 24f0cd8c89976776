"""An answer that was paid for is not lost, whatever happens to its folder, stdout or stderr."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sam3_agent.errors import InputError
from sam3_agent.saving import prepare_folder, write_files
from tests.command_line import ROOT, run
from tests.stub_server import StubServer

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
PLACED = ("--segmenter", "tests.placed:Placed")


@pytest.fixture
def dogs(tmp_path: Path) -> Path:
    """A picture whose PNG is larger than `SMALL`."""
    pixels = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "dogs.png")
    return tmp_path / "dogs.png"


def program(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """`sam3-agent` in a process whose standard streams may be anything; no model is loaded."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.run(
        [sys.executable, "-m", "sam3_agent", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
        timeout=240,
        check=False,
        **options,
    )


SMALL = 12_000


def little_space() -> None:
    """No file of this process can grow beyond SMALL bytes, as on a disk that is nearly full."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL, SMALL))


def closed_pipe() -> int:
    reading, writing = os.pipe()
    os.close(reading)
    return writing


def make_folder(path: Path) -> None:
    path.mkdir(parents=True)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda out: make_folder(out / "mask_1.png"), "mask_1.png in it is a folder"),
        (lambda out: make_folder(out / "overlay.png"), "overlay.png in it is a folder"),
        (lambda out: make_folder(out / "answer.json"), "answer.json in it is a folder"),
        (lambda out: out.write_text("a file"), "is not a folder"),
        (lambda out: out.symlink_to("/proc/nowhere"), "cannot write to"),
    ],
)
@pytest.mark.parametrize("command", ["ask", "segment"])
def test_a_folder_that_cannot_take_the_answer_is_refused_before_any_model_is_called(
    command: str, spoil: Callable[[Path], None], why: str, dogs: Path, monkeypatch: Any
) -> None:
    out = dogs.with_name("out")
    spoil(out)
    monkeypatch.setenv("OPENAI_API_KEY", "stub")
    planner = ("--planner", "openai:any") if command == "ask" else ()
    with StubServer([]) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.openai_url)
        done = run(command, dogs, "dog", *planner, *PLACED, "--any-image", "--out", out)
        assert not server.requests
    assert (done.exit_code, done.stdout) == (2, "")
    assert why in " ".join(done.stderr.split())


def test_bad_input_makes_no_folder(dogs: Path) -> None:
    out = dogs.with_name("out")
    for arguments in (("ask", dogs, " "), ("ask", dogs.with_name("no.png"), "dog")):
        assert run(*arguments, "--out", out).exit_code == 2
    assert not out.exists()


@pytest.mark.parametrize("command", ["ask", "segment"])
def test_an_answer_that_cannot_be_saved_is_printed_and_the_folder_stays_as_it_was(
    command: str, dogs: Path
) -> None:
    out = dogs.with_name("out")
    out.mkdir()
    (out / "mask_7.png").write_text("of an earlier answer")
    asking = (command, dogs, "dog", *PLACED, "--any-image", "--json", "--out", out)
    done = program(*asking, preexec_fn=little_space)
    assert done.returncode == 2, done.stderr
    assert len(json.loads(done.stdout)["instances"]) == 2
    assert f"error: nothing was saved in {out}: File too large" in done.stderr
    assert [path.name for path in out.iterdir()] == ["mask_7.png"]
    assert program(*asking).returncode == 0
    saved = sorted(path.name for path in out.iterdir())
    assert saved == ["answer.json", "mask_1.png", "mask_2.png", "overlay.png"]


@needs_full
@pytest.mark.parametrize("form", [("--json",), ()])
def test_a_full_stdout_is_reported_and_the_answer_is_saved(
    form: tuple[str, ...], dogs: Path
) -> None:
    out = dogs.with_name("out")
    with FULL.open("w") as full:
        done = program("segment", dogs, "dog", *PLACED, *form, "--out", out, stdout=full)
    assert done.returncode == 2
    assert "the result could not be printed on stdout: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(json.loads((out / "answer.json").read_text("utf-8"))["instances"]) == 2


def test_a_closed_pipe_ends_quietly_as_other_programs_end_and_the_answer_is_saved(
    dogs: Path,
) -> None:
    pipe, out = closed_pipe(), dogs.with_name("out")
    done = program("segment", dogs, "dog", *PLACED, "--out", out, stdout=pipe)
    os.close(pipe)
    assert done.returncode == 141
    assert "rror" not in done.stderr
    assert (out / "overlay.png").exists()


@needs_full
def test_progress_that_nobody_takes_costs_no_answer(dogs: Path) -> None:
    pipe = closed_pipe()
    with FULL.open("w") as full:
        for stderr in (full, pipe):
            done = program("ask", dogs, "dog", *PLACED, "--any-image", "--json", stderr=stderr)
            assert done.returncode == 0
            assert len(json.loads(done.stdout)["instances"]) == 2
    os.close(pipe)


@needs_full
@pytest.mark.parametrize("arguments", [("--version",), ("ask", "--help"), ("doctor", *PLACED)])
def test_a_full_stdout_is_no_traceback_of_any_command(arguments: tuple[str, ...]) -> None:
    with FULL.open("w") as full:
        done = program(*arguments, stdout=full)
    assert done.returncode == 2
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_disk_that_fills_during_an_eval_leaves_whole_rows_and_the_run_goes_on_later(
    tmp_path: Path,
) -> None:
    evaluation = ("eval", "scenes", "--limit", 12, *PLACED, "--out", tmp_path, "--json")
    done = program(*evaluation, preexec_fn=little_space)
    assert (done.returncode, done.stdout) == (2, "")
    assert "File too large; the rows before are whole: make room, and continue" in done.stderr
    whole = (tmp_path / "run.jsonl").read_bytes()
    assert whole.endswith(b"}\n")
    kept = [json.loads(line)["kind"] for line in whole.splitlines()]
    assert 0 < kept.count("row") < 12
    assert program(*evaluation, "--resume").returncode == 0


def test_files_are_written_together_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    with pytest.raises(InputError, match=r"nothing was saved in .*: File name too long"):
        write_files(tmp_path, {"a": b"new", "b" * 300: b"new"})
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a", "old")]
    write_files(tmp_path, {"a": b"new", "b": b"new"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_a_folder_is_prepared_with_its_parents_and_left_empty(tmp_path: Path) -> None:
    made = prepare_folder(tmp_path / "a" / "b", "*.png")
    assert list(made.iterdir()) == []
    with pytest.raises(InputError, match="cannot write to"):
        prepare_folder(Path("a\0b"))

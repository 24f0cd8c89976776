"""Files, folders and streams of odd kinds: one line says what is wrong, and nothing waits."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sam3_agent import registry
from sam3_agent.commands.interrupts import stop_on_signal
from sam3_agent.config import chosen
from sam3_agent.errors import ImageError, InputError, SegmenterError
from sam3_agent.images import load_image
from sam3_agent.model.replay import load_recording
from tests.command_line import ROOT, python, run

CARS = ROOT / "evals" / "demo" / "red_cars.png"

needs_pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such files")


@needs_pipes
def test_a_pipe_or_a_device_as_an_image_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "photo.png"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero")):
        with pytest.raises(ImageError, match="it is a pipe or a device, and no file"):
            load_image(path)


@needs_pipes
def test_an_image_is_read_from_a_stream_of_the_shell() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb"):
        os.write(writing, CARS.read_bytes())  # 40 kB, and a pipe holds 64
        os.close(writing)
        assert load_image(f"/dev/fd/{reading}").shape == load_image(CARS).shape


def test_an_image_of_more_bytes_than_any_picture_has_is_refused_before_it_is_read(
    tmp_path: Path,
) -> None:
    path = tmp_path / "photo.png"
    with path.open("wb") as file:
        file.truncate(10**12)
    with pytest.raises(ImageError, match="it is larger than 4 GB"):
        load_image(path)


@needs_pipes
@pytest.mark.parametrize("name", ["recording.json", "turns.jsonl", "image.png"])
def test_a_recording_with_a_pipe_in_it_is_refused_and_not_waited_for(
    name: str, tmp_path: Path
) -> None:
    done = run("ask", CARS, "cars", "--record", tmp_path / "made")
    assert done.exit_code == 0, done.stderr
    (tmp_path / "made" / name).unlink()
    os.mkfifo(tmp_path / "made" / name)
    with pytest.raises((InputError, ImageError), match="it is a pipe or a device, and no file"):
        load_recording(tmp_path / "made")


@needs_pipes
def test_a_pipe_as_the_configuration_is_refused_and_a_home_that_is_no_folder_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "config.toml")
    monkeypatch.setenv("SAM3_AGENT_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.delenv("SAM3_AGENT_PLANNER", raising=False)
    with pytest.raises(InputError, match="it is a pipe or a device, and no file"):
        chosen("planner")
    monkeypatch.setenv("SAM3_AGENT_CONFIG", str(CARS / "config.toml"))
    assert chosen("planner").value == "offline"


def test_the_home_folder_is_meant_by_a_tilde_that_no_shell_has_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    done = run("ask", CARS, "cars", "--out", "~/answer", "--record", "~/recorded")
    assert done.exit_code == 0
    done = run("eval", "scenes", "--limit", "1", "--solver", "segmenter", "--out", "~/run")
    assert done.exit_code == 0
    assert run("report", "~/run").exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
    made = ["answer/answer.json", "recorded/recording.json", "run/run.jsonl", "run/report.html"]
    assert all((tmp_path / "home" / name).is_file() for name in made)


def test_a_tilde_with_the_name_of_no_user_is_a_folder_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("ask", CARS, "cars", "--out", "~no-such-user/answer").exit_code == 0
    assert (tmp_path / "~no-such-user" / "answer" / "answer.json").is_file()


@pytest.mark.skipif(os.name == "nt", reason="a shell of POSIX closes the streams")
def test_an_answer_for_a_closed_stdout_is_exit_code_2_and_no_file_becomes_a_stream(
    tmp_path: Path,
) -> None:
    script = (
        "import os\nfrom sam3_agent import cli\n"
        "def look():\n"
        "    with open('kept', 'wb') as file:\n        os.write(2, b'of a library')\n"
        "        os.write(1, b'of a library')\n        assert file.fileno() > 2\n"
        "    raise KeyboardInterrupt\n"
        "cli.app = look\ncli.run()\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    for command, code in (
        (["-m", "sam3_agent", "ask", str(CARS), "cars", "--out", str(tmp_path / "out")], 2),
        (["-c", script], 130),
    ):
        done = subprocess.run(
            ["sh", "-c", '"$@" >&- 2>"$0"', str(tmp_path / "stderr"), sys.executable, *command],
            cwd=tmp_path,
            env=env,
            check=False,
        )
        stderr = (tmp_path / "stderr").read_text("utf-8")
        assert done.returncode == code, stderr
        assert "Traceback" not in stderr
        if code == 2:
            assert "error: the result could not be printed on stdout: it is closed" in stderr
    assert (tmp_path / "out" / "answer.json").is_file()
    assert (tmp_path / "kept").read_bytes() == b""


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no such signal")
def test_a_closed_terminal_stops_a_run_in_order_though_its_signal_comes_twice() -> None:
    # a test run may itself have been started to ignore it, with nohup
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        with stop_on_signal() as stop:
            signal.raise_signal(signal.SIGHUP)
            signal.raise_signal(signal.SIGHUP)
            assert stop.requested.is_set()
            assert stop.code == 129
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limit of a file's size")
def test_a_report_that_cannot_be_written_leaves_the_page_of_before(tmp_path: Path) -> None:
    """Such as one of which a whole file system has room for the old page, not for the new."""
    folder = tmp_path / "run"
    assert (
        run("eval", "scenes", "--limit", "1", "--solver", "segmenter", "--out", folder).exit_code
        == 0
    )
    (folder / "report.html").write_text("before", "utf-8")
    script = (
        "import resource, signal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        f"import sys\nsys.argv = ['sam3-agent', 'report', {str(folder)!r}]\n"
        "from sam3_agent.cli import run\nrun()\n"
    )
    done = python("-c", script)
    assert done.returncode == 2, done.stderr
    assert "nothing was saved in" in done.stderr
    assert (folder / "report.html").read_text("utf-8") == "before"
    assert sorted(path.name for path in folder.iterdir()) == ["report.html", "run.jsonl"]


@needs_pipes
@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_checkpoint_with_a_pipe_in_it_is_refused_and_not_waited_for(
    name: str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "sam3_video"}', "utf-8")
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    with pytest.raises(SegmenterError, match=f"{name} is a pipe or a device, and no file of a"):
        registry.segmenter(str(tmp_path))


def test_a_number_below_0_in_a_region_is_outside_of_the_image_and_no_sign_of_an_example() -> None:
    done = run("segment", CARS, "car", "--region", "-90,0,-10,50")
    assert done.exit_code == 2
    assert "[-90.0, 0.0, -10.0, 50.0]" in done.stderr


@pytest.mark.parametrize("option", [("--shard", "9" * 5000 + "/9"), ("--repeats", "9" * 30)])
def test_numbers_of_any_length_are_refused_in_one_line(option: tuple[str, str]) -> None:
    done = run("eval", "scenes", "--limit", "1", "--solver", "segmenter", *option)
    assert done.exit_code == 2
    assert isinstance(done.exception, SystemExit)

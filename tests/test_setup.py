"""The configuration file and `setup`, which writes it: who overrules whom, and what is said."""

import contextlib
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from sam3_agent import Agent, InputError, registry
from sam3_agent.config import chosen, config_path, read_config, write_config
from sam3_agent.model.fake_segmenter import FakeSegmenter
from tests.command_line import run
from tests.loopback import address, serving

ROOT = Path(__file__).parents[1]
RED_CARS = str(ROOT / "evals" / "demo" / "red_cars.png")
LARGE = 10**18
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The configuration file of each test, which does not exist yet."""
    path = tmp_path / "home" / "config.toml"
    monkeypatch.setenv("SAM3_AGENT_CONFIG", str(path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode("utf-8", "surrogateescape"))


@contextlib.contextmanager
def hub(sizes: dict[str, int], refused: tuple[str, ...] = ()) -> Iterator[str]:
    """A hub on loopback with repositories of one weight file each; `refused` ones are gated.

    sizes: bytes of each repository's file; one that is small can be downloaded.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if "/resolve/" in path:
                self.reply(200, "x" * (sizes[path[1:].partition("/resolve/")[0]] - 2))
                return
            name = path.removeprefix("/api/models/").removesuffix("/revision/main")
            name, tree, _ = name.partition("/tree/")
            queue = name.removesuffix("/auth-check")
            if queue not in sizes:
                self.reply(404, {"error": "not found"}, "RepoNotFound")
            elif tree:
                file = {"type": "file", "path": "model.safetensors", "oid": "0123"}
                self.reply(200, [{**file, "size": sizes[name]}])
            elif name.endswith("/auth-check"):
                kind = "GatedRepo" if queue in refused else ""
                self.reply(403 if kind else 200, {}, kind)
            else:
                files = [
                    {"rfilename": "model.safetensors", "size": sizes[queue]},
                    {"rfilename": "model.pt", "size": LARGE},
                ]
                self.reply(200, {"id": queue, "sha": COMMIT, "siblings": files})

        def reply(self, status: int, body: Any, kind: str = "") -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", '"0123"')
            self.send_header("X-Repo-Commit", COMMIT)
            if kind:
                self.send_header("X-Error-Code", kind)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

    with serving(Handler) as server:
        yield address(server)


def test_without_a_file_the_defaults_hold(config: Path) -> None:
    assert chosen("planner").value == "offline"
    assert (chosen("segmenter").value, chosen("segmenter").source) == ("tiny", "default")
    assert chosen("base_url").value is None
    assert not config.exists()


def test_options_overrule_variables_and_those_the_file(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(config, 'planner = "openai:from-file"\nsegmenter = "open:tiny"\n')
    assert chosen("planner").value == "openai:from-file"
    assert str(config) in chosen("planner").source
    monkeypatch.setenv("SAM3_AGENT_PLANNER", "openai:from-variable")
    assert chosen("planner").value == "openai:from-variable"
    assert chosen("planner").source == "$SAM3_AGENT_PLANNER"
    assert chosen("planner", "gemini:option").value == "gemini:option"
    monkeypatch.setenv("SAM3_AGENT_PLANNER", "")
    assert chosen("planner").value == "openai:from-file"
    assert chosen("segmenter").value == "open:tiny"


def test_every_entry_point_heeds_the_file(config: Path) -> None:
    write(config, 'planner = "openai:m"\nbase_url = "http://127.0.0.1:9/v1"\nsegmenter = "./none"')
    assert Agent(segmenter=FakeSegmenter({})).planner.name == "openai:m"
    assert registry.planner().name == "openai:m"
    for command in (["ask", RED_CARS, "x"], ["segment", RED_CARS, "x"], ["serve"], ["mcp"]):
        done = run(*command)
        assert (done.exit_code, "'./none'" in done.stderr) == (2, True), command
    assert run("eval", "scenes", "--limit", "1").exit_code == 2
    fine = run("ask", RED_CARS, "how many red cars?", "--planner", "offline", "--segmenter", "tiny")
    assert fine.exit_code == 0, fine.stderr


def test_an_openai_planner_asks_the_files_server(config: Path) -> None:
    from tests.stub_server import StubServer, call

    with StubServer([call(("answer", {"text": "No.", "numbers": []}))]) as server:
        write(config, f'planner = "openai:m"\nbase_url = "{server.openai_url}"\n')
        answer = Agent(segmenter=FakeSegmenter({}), verifier="none").ask(RED_CARS, "a dog?")
    assert answer.text == "No."


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('planner = "offline"\nsegmenter = tiny\n', "line 2"),
        ('planner = "offline', "line 1"),
        ('# mine\n\nsegmentor = "tiny"\n', "line 3: there is no setting 'segmentor'"),
        ('planner = "offline"\nsegmenter = 3\n', "line 2: segmenter is 3"),
        ('planner = ""\n', "line 1: planner is ''"),
        ('\n[keys]\nopenai = "sk-1"\n', "line 2: there is no setting 'keys'"),
        ('planner = "offline"\nplanner = "offline"\n', "line 2"),
        ('planner = "offline"\nsegmenter = "\udcff"\n', "line 2: this is not UTF-8"),
    ],
)
def test_a_broken_file_is_named_with_its_line(config: Path, text: str, told: str) -> None:
    write(config, text)
    with pytest.raises(InputError) as raised:
        registry.planner()
    assert str(config) in str(raised.value)
    assert told in str(raised.value)
    done = run("ask", RED_CARS, "cars", "--segmenter", "tiny")
    assert (done.exit_code, told in done.stderr) == (2, True)
    failed = run("doctor")
    assert (failed.exit_code, told in failed.stdout) == (3, True)


def test_a_wrong_name_in_the_file_is_traced_to_it(config: Path) -> None:
    write(config, 'planner = "magic"\n')
    with pytest.raises(InputError, match=re.escape(str(config))):
        registry.planner()


def test_a_folder_in_its_place_is_an_error(config: Path) -> None:
    config.mkdir(parents=True)
    with pytest.raises(InputError, match="cannot read the configuration"):
        chosen("planner")


def test_what_is_written_is_read_back(config: Path) -> None:
    values: Any = {"planner": "openai:a/b:c", "segmenter": 'C:\\models\\"sam" ü'}
    write_config(config, values)
    assert read_config(config) == values


def test_the_file_lies_where_the_platform_keeps_such_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("SAM3_AGENT_CONFIG")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    assert config_path() == tmp_path / ".config" / "sam3-agent" / "config.toml"
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    assert config_path() == tmp_path / ".config" / "sam3-agent" / "config.toml"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    assert config_path() == tmp_path / "xdg" / "sam3-agent" / "config.toml"


def test_doctor_tells_who_has_chosen(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(config, 'segmenter = "tiny"\n')
    monkeypatch.setenv("SAM3_AGENT_PLANNER", "offline")
    done = run("doctor", "--json")
    told = {one["what"]: one["said"] for one in json.loads(done.stdout)["checks"]}
    assert told["configuration"] == str(config)
    assert told["planner from"] == "offline ($SAM3_AGENT_PLANNER)"
    assert told["segmenter from"] == f"tiny (the configuration {config})"


def test_setup_without_a_terminal_says_what_to_give(config: Path) -> None:
    for arguments in ([], ["--planner", "offline", "--segmenter", "tiny"], ["--yes"]):
        done = run("setup", *arguments)
        assert (done.exit_code, "--planner, --segmenter and --yes" in done.stderr) == (2, True)
    assert not config.exists()


@pytest.mark.parametrize(
    ("planner", "segmenter", "more", "told"),
    [
        ("magic", "tiny", [], "no planner 'magic'"),
        ("offline", "open:huge", [], "no segmenter 'open:huge'"),
        ("offline", "tinny", [], "no segmenter 'tinny'"),
        ("openai:m", "tiny", ["--base-url", "localhost:8000"], "no URL"),
        ("offline", "tiny", ["--base-url", "http://a/v1"], "for an openai: planner"),
        ("openai:m", "tiny", ["--base-url", "http://me:secret@a/v1"], "holds a password"),
    ],
)
def test_setup_refuses_what_could_not_run(
    config: Path, planner: str, segmenter: str, more: list[str], told: str
) -> None:
    done = run("setup", "--planner", planner, "--segmenter", segmenter, "--yes", *more)
    assert (done.exit_code, told in done.stderr) == (2, True), done.stderr
    assert not config.exists()


def test_setup_writes_the_choice_and_says_which_key_is_missing(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run("setup", "--planner", "openai:m", "--segmenter", "tiny", "--yes")
    assert done.exit_code == 3, done.stderr
    assert "set OPENAI_API_KEY" in done.stdout
    assert read_config(config) == {"planner": "openai:m", "segmenter": "tiny"}
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    done = run("setup", "--planner", "openai:m", "--segmenter", "tiny", "--yes")
    assert "all that it needs is here" in done.stdout
    assert "sk-secret" not in config.read_text("utf-8") + done.output


def test_setup_says_when_a_variable_overrules_it(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAM3_AGENT_SEGMENTER", "open:base")
    done = run("setup", "--planner", "offline", "--segmenter", "tiny", "--yes")
    assert "$SAM3_AGENT_SEGMENTER is set to open:base, and overrules it" in done.stderr


def test_setup_tells_a_gated_checkpoint_and_how_to_get_it(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hub({"facebook/sam3": 3_440_000_000}, refused=("facebook/sam3",)) as url:
        monkeypatch.setenv("HF_ENDPOINT", url)
        done = run("setup", "--planner", "offline", "--segmenter", "facebook/sam3", "--yes")
    assert done.exit_code == 3, done.stderr
    assert "accept its licence" in done.stdout
    assert "downloading" not in done.stderr
    assert read_config(config)["segmenter"] == "facebook/sam3"


def test_setup_downloads_the_weights_once_and_not_when_told_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = ["setup", "--planner", "offline", "--segmenter", "someone/sam3", "--yes"]
    with hub({"someone/sam3": 2_000}) as url:
        monkeypatch.setenv("HF_ENDPOINT", url)
        spared = run(*asked, "--no-download")
        assert (spared.exit_code, "downloading" in spared.stderr) == (0, False)
        done = run(*asked)
        assert (done.exit_code, "downloading someone/sam3" in done.stderr) == (0, True), done.output
        assert [path.stat().st_size for path in tmp_path.rglob("*.safetensors")] == [2_000]
        again = run(*asked)
    assert "someone/sam3: in the local cache" in again.stdout
    assert "downloading" not in again.stderr


def test_setup_measures_the_download_and_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = {"IDEA-Research/grounding-dino-tiny": LARGE, "facebook/sam2.1-hiera-tiny": 156_000_000}
    with hub(parts) as url:
        monkeypatch.setenv("HF_ENDPOINT", url)
        done = run("setup", "--planner", "offline", "--segmenter", "open:tiny", "--yes")
    assert "facebook/sam2.1-hiera-tiny: may be downloaded (0.2 GB)" in done.stdout
    assert "1000000000.2 GB" in done.stdout
    assert "not downloaded" in done.stderr


def test_setup_asks_on_a_terminal_and_asks_again_after_a_slip(config: Path) -> None:
    answers = ["magic", "openai:qwen", "http://127.0.0.1:9/v1", "tiny", "y"]
    command = [sys.executable, "-m", "sam3_agent", "setup"]
    leader, follower = pty.openpty()
    with subprocess.Popen(
        command, stdin=follower, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=ROOT
    ) as process:
        os.close(follower)
        os.write(leader, "".join(f"{one}\n" for one in answers).encode())
        said = process.communicate(timeout=120)[0].decode()
        os.close(leader)
    assert process.returncode == 0, said
    assert "there is no planner 'magic'" in said
    assert said.index("Which planner") < said.index("Where does") < said.index("Which segmenter")
    assert read_config(config) == {
        "planner": "openai:qwen",
        "base_url": "http://127.0.0.1:9/v1",
        "segmenter": "tiny",
    }

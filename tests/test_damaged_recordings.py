"""Recordings that are damaged, incomplete, or of something else; and disks that are full."""

import json
import logging
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sam3_agent import Agent, Answer, InputError, Message, PlannerError, Tool
from sam3_agent.images import Pixels
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.recording import start_recording
from sam3_agent.model.replay import load_recording
from sam3_agent.model.scripted_planner import ScriptedPlanner, calling

ABOUT, TURNS = "recording.json", "turns.jsonl"
QUERY = "which dogs?"
IMAGE: Pixels = np.full((100, 200, 3), 128, np.uint8)
REPLIES = [
    calling(("segment", {"phrases": ["dog"]}), text="Looking."),
    calling(("answer", {"text": "Two dogs.", "numbers": [1, 2]})),
]

Damage = Callable[[Path], object]


def dogs() -> FakeSegmenter:
    return FakeSegmenter({"dog": [(10, 20, 60, 70), (120, 40, 150, 70)]})


def record(folder: Path, planner: Any = None) -> Answer:
    """An answer, and its recording in the folder."""
    agent = Agent(planner or ScriptedPlanner(REPLIES), dogs(), verifier="none")
    agent, recording = start_recording(agent, folder, IMAGE, QUERY)
    answer = agent.ask(IMAGE, QUERY)
    recording.finish(answer)
    return answer


def replay(folder: Path) -> Answer:
    agent, image, query = load_recording(folder, dogs())
    return agent.ask(image, query)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded")
    record(folder)
    return folder


def content(name: str, change: Callable[[bytes], bytes]) -> Damage:
    """Damage to the bytes of a file."""
    return lambda folder: (folder / name).write_bytes(change((folder / name).read_bytes()))


def about(change: Callable[[dict[str, Any]], object]) -> Damage:
    """Damage to the values of recording.json."""

    def damage(folder: Path) -> None:
        values = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        change(values)
        (folder / ABOUT).write_text(json.dumps(values), encoding="utf-8")

    return damage


def turns(change: Callable[[list[Any]], object]) -> Damage:
    """Damage to the lines of turns.jsonl."""

    def damage(folder: Path) -> None:
        lines = (folder / TURNS).read_text(encoding="utf-8").splitlines()
        values = [json.loads(line) for line in lines]
        change(values)
        text = "".join(json.dumps(one) + "\n" for one in values)
        (folder / TURNS).write_text(text, encoding="utf-8")

    return damage


def folder_in_place_of(name: str) -> Damage:
    def damage(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return damage


def emptied(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def file_in_place(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("")


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


DAMAGES: dict[str, tuple[Damage, str]] = {
    "about cut": (content(ABOUT, half), r"recording\.json is cut off or no JSON"),
    "about empty": (content(ABOUT, lambda _: b""), r"recording\.json is cut off or no JSON"),
    "about of zeros": (content(ABOUT, lambda data: bytes(len(data))), r"\.json has NUL bytes"),
    "about in UTF-16": (
        content(ABOUT, lambda data: data.decode().encode("utf-16")),
        r"recording\.json is not UTF-8",
    ),
    "about nested": (content(ABOUT, lambda _: b"[" * 100_000), "cut off or no JSON"),
    "about is a folder": (folder_in_place_of(ABOUT), r"recording\.json: Is a directory"),
    "another version": (
        about(lambda kept: kept.update(version=3)),
        "was recorded in format 3, thi",
    ),
    "version as text": (
        about(lambda kept: kept.update(version="2")),
        "recorded in format '2', thi",
    ),
    "no version": (about(lambda kept: kept.pop("version")), r"recording\.json has no version"),
    "no planner": (about(lambda kept: kept.pop("planner")), r"in recording\.json, planner: Field"),
    "a number as question": (about(lambda kept: kept.update(query=5)), r"json, query: .* string"),
    "replies of no text": (about(lambda kept: kept.update(person=[1])), r"json, person\.0"),
    "effort as text": (about(lambda kept: kept.update(effort="x")), r"json, effort: .* dictionary"),
    "an unknown budget": (about(lambda kept: kept["budget"].update(days=1)), "argument 'days'"),
    "no lines": (lambda folder: (folder / TURNS).unlink(), r"turns\.jsonl: No such file"),
    "lines are a folder": (folder_in_place_of(TURNS), r"turns\.jsonl: Is a directory"),
    "a cut line": (content(TURNS, lambda data: data[:-40]), r"line 2 of turns\.jsonl is cut off"),
    "zeros at the end": (content(TURNS, lambda data: data + bytes(99)), "line 3 of .* NUL bytes"),
    "zeros in a line": (content(TURNS, lambda d: d[:-40] + bytes(40)), "line 2 of .* NUL bytes"),
    "lines not in UTF-8": (content(TURNS, lambda d: d.replace(b"Two", b"\xf6")), "is not UTF-8"),
    "a line is a list": (
        content(TURNS, lambda _: b"[]\n"),
        r"line 1 of turns\.jsonl is no JSON obj",
    ),
    "the first line lost": (turns(lambda kept: kept.pop(0)), "lines are missing, doubled or chan"),
    "a line twice": (turns(lambda kept: kept.append(kept[0])), "request 3 .* missing, doubled"),
    "lines exchanged": (turns(lambda kept: kept.reverse()), "missing, doubled or changed"),
    "a message lost": (turns(lambda kept: kept[0]["new_messages"].pop()), "has 1 new messages"),
    "no reply": (turns(lambda kept: kept[0].pop("reply")), "neither a reply nor a failure"),
    "a reply is text": (turns(lambda kept: kept[0].update(reply="x")), "in line 1 .*, reply:"),
    "a reply without text": (
        turns(lambda kept: kept[0]["reply"].pop("text")),
        r"reply\.text: Field",
    ),
    "cost as text": (turns(lambda kept: kept[0]["reply"].update(spent="x")), r"reply\.spent: "),
    "cost below zero": (turns(lambda kept: kept[1]["reply"]["spent"].update(calls=-1)), "line 2"),
    "a call is text": (
        turns(lambda kept: kept[0]["reply"].update(tool_calls="segment")),
        r"reply\.tool_calls: .* list",
    ),
    "arguments as values": (
        turns(lambda kept: kept[0]["reply"]["tool_calls"][0].update(arguments={})),
        r"tool_calls\.0\.arguments: .* string",
    ),
    "a message of nobody": (
        turns(lambda kept: kept[0]["new_messages"][1].update(role="cook")),
        r"new_messages\.1\.role: ",
    ),
    "no image": (lambda folder: (folder / "image.png").unlink(), r"no file .*image\.png"),
    "image cut": (content("image.png", half), r"image\.png is damaged"),
    "an empty folder": (emptied, r"recording\.json: No such file"),
    "a file": (file_in_place, r"recording\.json: Not a directory"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_recording_is_refused_with_the_file_and_line(
    name: str, recorded: Path, tmp_path: Path
) -> None:
    damage, expected = DAMAGES[name]
    folder = tmp_path / "recording"
    shutil.copytree(recorded, folder)
    damage(folder)
    with pytest.raises(InputError, match=expected):
        replay(folder)


def another_picture(folder: Path) -> None:
    Image.fromarray(IMAGE + np.uint8(1)).save(folder / "image.png")


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (another_picture, "in request 1 message 2 differs in its pictures; record it again"),
        (turns(lambda kept: kept.clear()), "ends after 0 replies: record it again"),
        (turns(lambda kept: kept.pop()), "ends after 1 replies: record it again"),
    ],
)
def test_what_does_not_fit_the_recorded_requests_ends_the_replay(
    damage: Damage, expected: str, recorded: Path, tmp_path: Path
) -> None:
    shutil.copytree(recorded, tmp_path, dirs_exist_ok=True)
    damage(tmp_path)
    with pytest.raises(PlannerError, match=expected):
        replay(tmp_path)


@pytest.mark.parametrize(
    "harmless",
    [
        # a replay reads neither the recorded answer nor the pictures that were shown
        about(lambda kept: kept["answer"]["instances"][0]["segmentation"].update(counts="o" * 9)),
        lambda folder: shutil.rmtree(folder / "pictures"),
        content(TURNS, lambda data: data.replace(b"\n", b"\r\n\n")),
        turns(lambda kept: kept[0]["reply"]["spent"].update(seconds=1)),
    ],
)
def test_a_replay_needs_the_requests_and_replies_only(
    harmless: Damage, recorded: Path, tmp_path: Path
) -> None:
    shutil.copytree(recorded, tmp_path, dirs_exist_ok=True)
    harmless(tmp_path)
    assert replay(tmp_path).masks.rles == replay(recorded).masks.rles


class Interrupted(ScriptedPlanner):
    """Ctrl-C while it is asked for the second time."""

    def reply(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Message:
        if self.seen:
            raise KeyboardInterrupt
        return super().reply(messages, tools)


def test_an_interrupted_ask_leaves_a_recording_that_says_where_it_ends(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        record(tmp_path, Interrupted(REPLIES))
    assert (tmp_path / TURNS).read_bytes().endswith(b"}\n")
    expected = "ends after 1 replies, as the ask was interrupted before its answer"
    with pytest.raises(PlannerError, match=expected):
        replay(tmp_path)


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """No file grows beyond this size inside, as on a full disk."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_disk_that_gets_full_loses_no_answer_and_leaves_whole_lines(
    recorded: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = (recorded / TURNS).read_bytes().splitlines()
    for size in (len(first) // 2, len(first) + len(second) // 2):
        folder = tmp_path / str(size)
        caplog.clear()
        with files_up_to(size), caplog.at_level(logging.WARNING):
            answer = record(folder)
        assert answer.text == "Two dogs."
        (warning,) = caplog.messages
        assert f"the recording in {folder} ends here" in warning
        written = (folder / TURNS).read_bytes()
        assert written in (b"", first + b"\n")
        with pytest.raises(PlannerError, match="interrupted before its answer"):
            replay(folder)


def test_a_full_disk_is_noticed_before_a_question_is_asked(tmp_path: Path) -> None:
    planner = ScriptedPlanner(REPLIES)
    with files_up_to(10), pytest.raises(InputError, match=r"cannot record to .*: File too large"):
        record(tmp_path, planner)
    assert planner.seen == []


def test_a_second_recording_in_a_folder_replaces_the_first(recorded: Path, tmp_path: Path) -> None:
    shutil.copytree(recorded, tmp_path, dirs_exist_ok=True)
    assert record(tmp_path).text == replay(tmp_path).text
    assert (tmp_path / TURNS).read_bytes() == (recorded / TURNS).read_bytes()
    assert not list(tmp_path.rglob("*.part"))

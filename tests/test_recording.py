"""Record and replay: the same ask again, without the planner."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sam3_agent import Agent, Answer, Budget, InputError, Message, PlannerError, Tool
from sam3_agent.errors import DeadlineError
from sam3_agent.images import Pixels
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.recording import start_recording
from sam3_agent.model.replay import Replay, ReplayPlanner, load_recording
from sam3_agent.model.scripted_planner import ScriptedPlanner, calling
from sam3_agent.usage import TokenUsage

REPLIES = [
    calling(("segment", {"phrases": ["dog"]}), ("zoom", "{"), text="Ich sehe „Hunde“ 😀."),
    calling(("answer", {"text": "Two dogs.", "numbers": [1, 2]})),
]


def timeless(answer: Answer) -> dict[str, Any]:
    """An answer without what a clock says."""
    out = answer.to_dict()
    out["usage"] = {k: v for k, v in out["usage"].items() if "seconds" not in k}
    return out


def record(
    replies: Sequence[Message], image: Pixels, segmenter: FakeSegmenter, folder: Path, **more: Any
) -> Answer:
    agent = Agent(ScriptedPlanner(replies), segmenter, **more)
    agent, recording = start_recording(agent, folder, image, "which dogs?")
    answer = agent.ask(image, "which dogs?")
    recording.finish(answer)
    return answer


@pytest.fixture
def recorded(image: Pixels, segmenter: FakeSegmenter, tmp_path: Path) -> Answer:
    """An answer, recorded in tmp_path."""
    return record(REPLIES, image, segmenter, tmp_path, budget=Budget(turns=5, seconds=60))


def player(folder: Path) -> ReplayPlanner:
    kept = Replay(folder)
    return ReplayPlanner(kept.planner, kept)


def replayed(folder: Path, segmenter: FakeSegmenter) -> Agent:
    """`load_recording`, with the segmenter of these tests."""
    return load_recording(folder, segmenter)[0]


def test_a_replay_gives_the_same_answer(
    recorded: Answer, image: Pixels, segmenter: FakeSegmenter, tmp_path: Path
) -> None:
    kept = Replay(tmp_path)
    assert (kept.query, kept.segmenter) == ("which dogs?", "placed")
    assert kept.budget == Budget(turns=5)
    planner = ReplayPlanner(kept.planner, kept)
    again = Agent(planner, segmenter, verifier="none", budget=kept.budget).ask(image, kept.query)
    assert timeless(again) == timeless(recorded)
    assert [m.text for m in again.messages] == [m.text for m in recorded.messages]


@pytest.mark.parametrize("name", ["doubts", "fast", "offline", "text", "thorough"])
def test_a_recording_of_an_earlier_version_gives_the_same_answer(
    name: str, segmenter: FakeSegmenter
) -> None:
    folder = Path(__file__).parent / "recordings" / name
    agent, image, query = load_recording(folder, segmenter)
    then = json.loads((folder / "recording.json").read_text("utf-8"))["answer"]
    now = json.loads(json.dumps(agent.ask(image, query).to_dict()))
    for answer in (then, now):
        answer["usage"] = {k: v for k, v in answer["usage"].items() if "seconds" not in k}
        del answer["segmenter"]  # the fake one had another name
    assert {name: now[name] for name in then} == then


def test_a_recording_holds_every_request_and_reply_and_the_pictures(
    recorded: Answer, tmp_path: Path
) -> None:
    first, second = map(json.loads, (tmp_path / "turns.jsonl").read_text("utf-8").splitlines())
    assert [message["role"] for message in first["new_messages"]] == ["system", "user"]
    assert [message["role"] for message in second["new_messages"]] == ["tool", "tool"]
    assert first["reply"]["tool_calls"][1] == {"id": "call_2", "name": "zoom", "arguments": "{"}
    for message in (first["new_messages"][1], second["new_messages"][0]):
        (picture,) = message["pictures"]
        assert (tmp_path / picture).stat().st_size > 0
    about = json.loads((tmp_path / "recording.json").read_text("utf-8"))
    assert about["answer"] == recorded.to_dict()


def test_a_recording_has_the_keys_of_earlier_versions(recorded: Answer, tmp_path: Path) -> None:
    def keys(folder: Path) -> list[list[str]]:
        about = json.loads((folder / "recording.json").read_text("utf-8"))
        turn = json.loads((folder / "turns.jsonl").read_text("utf-8").splitlines()[0])
        values = [
            about,
            about["effort"],
            about["budget"],
            about["answer"],
            about["answer"]["usage"],
        ]
        return [sorted(each) for each in [*values, turn, turn["request"], turn["reply"]]]

    assert keys(tmp_path) == keys(Path(__file__).parent / "recordings" / "offline")


def test_another_question_is_refused(
    recorded: Answer, image: Pixels, segmenter: FakeSegmenter, tmp_path: Path
) -> None:
    with pytest.raises(PlannerError, match=r"in request 1 message 2 differs; record it again"):
        Agent(player(tmp_path), segmenter, verifier="none").ask(image, "which cats?")


def test_other_masks_are_noticed(recorded: Answer, image: Pixels, tmp_path: Path) -> None:
    moved = FakeSegmenter({"dog": [(11, 20, 60, 70), (120, 40, 150, 70)]}, {"dog": [0.9, 0.8]})
    with pytest.raises(PlannerError, match="in request 2 message 4 differs"):
        Agent(player(tmp_path), moved, verifier="none", budget=Budget(turns=5)).ask(
            image, "which dogs?"
        )


def test_other_tools_are_noticed(
    recorded: Answer, image: Pixels, segmenter: FakeSegmenter, tmp_path: Path
) -> None:
    with pytest.raises(PlannerError, match="in request 1 the tools differ"):
        Agent(player(tmp_path), segmenter, verifier="none", tools=[]).ask(image, "which dogs?")


def test_a_recording_that_was_cut_off_says_so(
    recorded: Answer, image: Pixels, segmenter: FakeSegmenter, tmp_path: Path
) -> None:
    turns = (tmp_path / "turns.jsonl").read_text("utf-8").splitlines()
    (tmp_path / "turns.jsonl").write_text(turns[0] + "\n", "utf-8")
    with pytest.raises(PlannerError, match="ends after 1 replies"):
        Agent(player(tmp_path), segmenter, verifier="none", budget=Budget(turns=5)).ask(
            image, "which dogs?"
        )


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, r"holds no recording .*: \S*/recording\.json: No such file or directory$"),
        ("{", "holds no recording"),
        ("[]", "holds no recording"),
        ('{"version": 99}', "was recorded in format 99"),
        ('{"version": 2}', "holds no recording"),
    ],
)
def test_a_folder_without_a_recording_is_refused(
    tmp_path: Path, content: str | None, told: str
) -> None:
    if content is not None:
        (tmp_path / "recording.json").write_text(content)
        (tmp_path / "turns.jsonl").touch()
    with pytest.raises(InputError, match=told):
        Replay(tmp_path)


def test_what_a_reply_cost_is_kept(image: Pixels, segmenter: FakeSegmenter, tmp_path: Path) -> None:
    spent = TokenUsage(calls=1, retries=2, input_tokens=10, output_tokens=3, cost=None)
    replies = [replace(reply, spent=spent) for reply in REPLIES]
    record(replies, image, segmenter, tmp_path)
    again = Agent(player(tmp_path), segmenter, verifier="none").ask(image, "which dogs?")
    assert again.usage.spent == spent + spent


def test_what_the_person_said_is_replayed(
    image: Pixels, segmenter: FakeSegmenter, tmp_path: Path
) -> None:
    ask = calling(("ask_person", {"question": "With the leash?"}))
    first = record(
        [ask, *REPLIES], image, segmenter, tmp_path, ask_person=lambda question: "no \udce4"
    )
    agent = replayed(tmp_path, segmenter)
    assert timeless(agent.ask(image, "which dogs?")) == timeless(first)


class Moody(ScriptedPlanner):
    """Fails where its script has None."""

    def reply(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Message:
        reply = super().reply(messages, tools)
        if reply.text == "fail":
            raise PlannerError("openai model m answered 500 after 6 tries", 6)
        return reply


def test_a_thorough_ask_with_failures_and_retries_replays_to_the_same_answer(
    image: Pixels, segmenter: FakeSegmenter, tmp_path: Path
) -> None:
    spent = TokenUsage(calls=1, retries=1, input_tokens=100, output_tokens=10, bytes=99, cost=0.001)
    fail = Message("assistant", "fail")
    first_only = calling(("answer", {"text": "The first.", "numbers": [1]}))
    plan = [*REPLIES, first_only, REPLIES[0], REPLIES[1], REPLIES[1]]

    class Verifier:
        name = "verifier"

        def reply(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Message:
            if tools[0].name == "report":
                raise PlannerError("verifier answered 500", 2)
            if tools[0].name == "prefer":
                better = "A" if "Answer A: The first." in messages[1].text else "B"
                return replace(calling(("prefer", {"better": better, "reason": ""})), spent=spent)
            if "Vote 2" in messages[1].text and len(messages) == 2:
                return Message("assistant", "Fine!", spent=spent)
            right = {"confidence": 0.9, "reason": "seen"}
            verdicts = [{"number": n, "right": n == 1, **right} for n in (1, 2)]
            return replace(calling(("judge", {"verdicts": verdicts})), spent=spent)

    replies = [replace(reply, spent=spent) for reply in plan] + [fail]
    agent = Agent(Moody(replies), segmenter, verifier=Verifier(), effort="thorough")
    agent, recording = start_recording(agent, tmp_path, image, "which dogs?")
    first = agent.ask(image, "which dogs?")
    recording.finish(first)
    assert first.text == "The first."
    assert first.usage.parts["verify"].calls == 8
    assert first.usage.parts["check_complete"].retries == 4
    again = replayed(tmp_path, segmenter).ask(image, "which dogs?")
    assert timeless(again) == timeless(first)
    assert [m.text for m in again.messages] == [m.text for m in first.messages]


def test_an_ask_that_ran_out_of_time_replays(
    image: Pixels, segmenter: FakeSegmenter, tmp_path: Path
) -> None:
    class Late(ScriptedPlanner):
        def reply(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Message:
            if len(self.seen) == 1:
                raise DeadlineError("no time is left to wait 90 s", tries=2)
            return super().reply(messages, tools)

    agent = Agent(Late(REPLIES), segmenter, budget=Budget(seconds=60))
    agent, recording = start_recording(agent, tmp_path, image, "which dogs?")
    first = agent.ask(image, "which dogs?")
    recording.finish(first)
    assert first.status == "out_of_budget"
    again = replayed(tmp_path, segmenter).ask(image, "which dogs?")
    assert timeless(again) == timeless(first)


def test_checks_are_recorded_and_replayed_too(
    image: Pixels, segmenter: FakeSegmenter, tmp_path: Path
) -> None:
    judged = {"right": True, "confidence": 0.9, "reason": "a dog"}
    verdicts = [{"number": number, **judged} for number in (1, 2)]
    verifier = ScriptedPlanner([calling(("judge", {"verdicts": verdicts}))])
    first = record(REPLIES, image, segmenter, tmp_path, verifier=verifier)
    assert first.usage.parts.keys() == {"planner", "verify"}
    kept = Replay(tmp_path)
    agent = Agent(player(tmp_path), segmenter, verifier=ReplayPlanner(kept.verifier, kept))
    assert timeless(agent.ask(image, "which dogs?")) == timeless(first)

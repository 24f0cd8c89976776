"""The command line against a server on loopback in place of an MLLM, on demo scenes."""

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from pycocotools import mask as coco
from typer.testing import CliRunner, Result

from sam3_agent.cli import app
from sam3_agent.evals.synthetic.annotated_set import read_set
from tests.command_line import python
from tests.stub_server import AnyStep, Request, Step, StepFunction, StubServer, call, fault

ROOT = Path(__file__).parents[1]
DEMO = ROOT / "evals" / "demo"
LEFTMOST = "the leftmost red car"
KEY = "stub-key-5f0e7d31c2"
TIMES = ("seconds", "planner_seconds", "checks_seconds", "segmenter_seconds")
AT_ONCE = {"retry-after-ms": "1", "Retry-After": "0"}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that must not be printed, and no server but the one that a test starts."""
    for name in ("OPENAI_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.setenv(name, KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def addresses(server: StubServer) -> dict[str, str]:
    return {"OPENAI_BASE_URL": server.openai_url, "GOOGLE_GEMINI_BASE_URL": server.gemini_url}


def run(server: StubServer, *arguments: str) -> Result:
    """The command in this process: loading torch takes longer than all the rest."""
    return CliRunner(env=addresses(server)).invoke(app, list(arguments))


def run_process(server: StubServer, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    return python("-m", "sam3_agent", *arguments, env=addresses(server))


def printed(done: subprocess.CompletedProcess[str] | Result) -> dict[str, Any]:
    code = done.exit_code if isinstance(done, Result) else done.returncode
    assert code == 0, done.stderr
    out = json.loads(done.stdout)
    assert isinstance(out, dict)
    return out


def asking(query: str, *options: str, image: str = "red_cars.png") -> tuple[str, ...]:
    """The arguments of `ask` about a demo scene, with JSON as output."""
    return ("ask", str(DEMO / image), query, "--json", *options)


def timeless(out: dict[str, Any]) -> dict[str, Any]:
    """An answer.json without times."""
    return out | {"usage": {k: v for k, v in out["usage"].items() if k not in TIMES}}


def truth_of(file_name: str, query: str) -> list[npt.NDArray[np.bool_]]:
    """The masks that a demo scene's query is about."""
    (scene,) = (one for one in read_set(DEMO) if one.file_name == file_name)
    (asked,) = (one for one in scene.queries if one.text == query)
    return [scene.scene.mask(target) for target in asked.targets]


def assert_masks(out: dict[str, Any], truth: list[npt.NDArray[np.bool_]]) -> None:
    """Each true mask is overlapped well by one instance, and there is no other instance."""
    found: list[Any] = [
        coco.decode(instance["segmentation"]).astype(bool) for instance in out["instances"]
    ]
    assert len(found) == len(truth)
    for mask in truth:
        assert max((one & mask).sum() / (one | mask).sum() for one in found) > 0.5


def look(phrase: str, **more: Any) -> Step:
    return call(("segment", {"phrases": [phrase]}), **more)


def answer_leftmost(phrase: str) -> StepFunction:
    """Answer with the leftmost mask in the tool's last result, as a model reads it."""

    def step(request: Request) -> Step:
        body = json.dumps(request.body, ensure_ascii=False)
        rows = re.findall(rf'(\d+): \\+"{phrase}\\+" score [\d.]+ box ([\d.]+),', body)
        number = int(min(rows, key=lambda row: float(row[1]))[0])
        return call(("answer", {"text": f"The {phrase}.", "numbers": [number]}), text="Done.")

    return step


FAULTS: list[AnyStep] = [
    fault(429, AT_ONCE, "slow down"),
    fault(429, AT_ONCE, "slow down"),
    fault(500, AT_ONCE, "oh no"),
    call(("segment", '{"phrases": ["red c'), input_tokens=50),
]


def test_an_ask_through_faults_and_a_broken_call_ends_with_the_right_mask_and_can_be_replayed(
    tmp_path: Path,
) -> None:
    record = str(tmp_path / "record")
    ask = asking(LEFTMOST, "--planner", "openai:any", "--verifier", "none")
    with StubServer([*FAULTS, look("red car"), answer_leftmost("red car")]) as server:
        done = run_process(server, *ask, "--record", record, "--out", str(tmp_path / "out"))
    out = printed(done)
    assert_masks(out, truth_of("red_cars.png", LEFTMOST))
    assert (out["status"], out["planner"]) == ("answered", "openai:any")
    counts = {name: out["usage"][name] for name in ("calls", "retries", "turns", "tool_errors")}
    assert counts == {"calls": 3, "retries": 3, "turns": 3, "tool_errors": 1}
    assert (out["usage"]["input_tokens"], out["usage"]["cost"]) == (250, None)
    assert len(server.requests) == 6
    assert {request.headers["authorization"] for request in server.requests} == {f"Bearer {KEY}"}
    assert "slow down; trying again in 0.0 s" in done.stderr
    assert "Traceback" not in done.stderr
    kept = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert kept
    assert not any(KEY.encode() in content for content in [*kept, done.stderr.encode()])

    again = printed(run(server, "replay", record, "--json"))
    assert timeless(again) == timeless(out)


def test_the_same_for_gemini() -> None:
    query = "how many boats can you see?"
    ask = asking(query, "--planner", "gemini:any", "--verifier", "none", image="backpacks.png")
    script: list[AnyStep] = [
        fault(503, {"Retry-After": "0"}),
        look("boat"),
        answer_leftmost("boat"),
    ]
    with StubServer(script) as server:
        done = run(server, *ask)
    out = printed(done)
    assert_masks(out, truth_of("backpacks.png", query))
    assert (out["planner"], out["usage"]["calls"], out["usage"]["retries"]) == ("gemini:any", 2, 1)
    assert [request.path.rsplit("/", 1)[1] for request in server.requests] == [
        "any:generateContent"
    ] * 3
    assert KEY not in done.stderr


def test_no_call_is_made_after_the_dollars_are_spent() -> None:
    """gpt-5.4 costs 2.50 dollars for a million input tokens."""
    steps = [look("red car", input_tokens=399, output_tokens=0)] + [look("bus")] * 9
    steps[1] = look("book", input_tokens=10, output_tokens=0)
    with StubServer(steps) as server:
        ask = asking("cars?", "--planner", "openai:gpt-5.4")
        out = printed(run(server, *ask, "--max-usd", "0.001"))
    assert len(server.requests) == 2
    assert out["status"] == "out_of_budget"
    assert "0.001 US dollars" in out["text"]
    assert out["usage"]["cost"] == pytest.approx(409 * 2.5e-6, abs=1e-6)


@pytest.mark.parametrize(
    ("step", "error"),
    [
        (fault(401, words=f"Incorrect API key provided: {KEY}"), "answered 401.*OPENAI_API_KEY"),
        (
            fault(404, words="The model `any` does not exist"),
            "answered 404.*Check the model's name",
        ),
    ],
    ids=["a wrong key", "an unknown model"],
)
def test_a_planner_that_cannot_be_used_ends_in_one_line_and_exit_3(step: Step, error: str) -> None:
    with StubServer([step]) as server:
        done = run(server, *asking("cars?", "--planner", "openai:any", "--verifier", "none"))
    assert (done.exit_code, done.stdout) == (3, "")
    last = done.stderr.strip().splitlines()[-1]
    assert re.match(f"error: openai model any {error}", last)
    assert "Traceback" not in done.stderr
    assert KEY not in done.stderr


EVERY_TOOL = [
    call(
        ("segment", {"phrases": ["car"], "threshold": 0.3}), ("look", {"region": [0, 40, 70, 100]})
    ),
    call(("segment_like", {"positive": [1], "negative": [[60, 0, 90, 30]], "phrase": "red car"})),
    call(("look", {"numbers": [1, 2, 3, 4]}), ("measure", {"numbers": [1, 2, 3, 4]})),
    call(
        ("edit", {"action": "merge", "numbers": [1, 2]}),
        ("edit", {"action": "drop", "numbers": [4]}),
    ),
    call(("edit", {"action": "subtract", "numbers": [5, 2]}), ("segment", {"phrases": ["car"]})),
]
"""Every tool that the shipped segmenter can serve, one call after the other."""


def tool_results(request: Request) -> str:
    return json.dumps(request.body, ensure_ascii=False).replace('\\"', '"').replace("\\n", "\n")


@pytest.mark.parametrize("provider", ["openai", "gemini"])
def test_every_tool_works_through_the_format_of_a_real_planner(provider: str) -> None:
    def finish(request: Request) -> Step:
        """The leftmost, as `measure` ordered the masks."""
        order = re.search(r"left to right: (\d+)", tool_results(request))
        assert order
        return call(("answer", {"text": "The leftmost.", "numbers": [int(order[1])]}))

    ask = asking(LEFTMOST, "--planner", f"{provider}:any", "--effort", "fast")
    with StubServer([*EVERY_TOOL, finish]) as server:
        out = printed(run(server, *ask))
        results = tool_results(server.requests[-1])
    assert_masks(out, truth_of("red_cars.png", LEFTMOST))
    assert (out["usage"]["tool_calls"], out["usage"]["tool_errors"]) == (10, 0)
    for line in (
        "The region 0,40,70,100 at ",
        '"red car": masks known already: ',
        "Close-ups, row by row: 1, 2, 3, 4.",
        "4 masks, ",
        "largest first: ",
        "Masks 1, 2 are now mask 5. Masks: 3-5.",
        "Dropped 4. Masks: 3, 5.",
        "Mask 5 without 2 is now mask 6. Masks: 3, 6.",
        "dropped: ",
    ):
        assert line in results, line


def judged(request: Request) -> Step:
    """A verifier that finds every mask right."""
    last = request.body["messages"][-1]["content"]
    text = next(part["text"] for part in last if part["type"] == "text")
    numbers = text.splitlines()[1].removeprefix("Masks to judge: ").split(", ")
    right = {"right": True, "confidence": 0.9, "reason": "a red car"}
    return call(("judge", {"verdicts": [{"number": int(n), **right} for n in numbers]}))


def test_the_answer_is_verified_by_requests_and_the_cost_is_reported_by_part() -> None:
    with StubServer([look("red car"), answer_leftmost("red car"), judged]) as server:
        done = run(server, *asking(LEFTMOST, "--planner", "openai:any"))
    out = printed(done)
    assert_masks(out, truth_of("red_cars.png", LEFTMOST))
    assert {name: part["calls"] for name, part in out["usage"]["parts"].items()} == {
        "planner": 2,
        "verify": 1,
    }
    assert "check: mask 3: right (0.90): a red car" in done.stderr
    assert "effort balanced: planner 2 calls, 220 tokens; verify 1 call, 110 tokens" in done.stderr


def test_fast_answers_a_bare_concept_without_the_planner() -> None:
    with StubServer([]) as server:
        done = run(server, *asking("red cars", "--planner", "openai:any", "--effort", "fast"))
    out = printed(done)
    assert len(out["instances"]) == 3
    assert not server.requests
    assert "no model calls" in done.stderr


@pytest.mark.parametrize(
    ("typed", "reply"),
    [(b"the red one\n", "The person says: the red one"), (b"\x04", "No reply: take the likeliest")],
    ids=["a reply", "Ctrl-D"],
)
def test_on_a_terminal_the_planner_may_ask_the_person(
    typed: bytes, reply: str, tmp_path: Path
) -> None:
    question = call(("ask_person", {"question": "The red one or the orange one?"}))
    steps: list[AnyStep] = [question, look("red car"), answer_leftmost("red car")]
    mine, theirs = pty.openpty()
    with StubServer(steps) as server:
        env = {**os.environ, **addresses(server)}
        command = [sys.executable, "-m", "sam3_agent", "ask", str(DEMO / "red_cars.png"), "the car"]
        command += ["--planner", "openai:any", "--verifier", "none", "--record", str(tmp_path)]
        os.write(mine, typed)
        done = subprocess.run(
            command, cwd=ROOT, env=env, stdin=theirs, capture_output=True, text=True, timeout=240
        )
    os.close(mine)
    os.close(theirs)
    assert done.returncode == 0, done.stderr
    assert "the planner asks: The red one or the orange one?" in done.stderr
    assert reply in done.stderr
    assert "> " not in done.stdout
    with StubServer([]) as silent:
        again = printed(run(silent, "replay", str(tmp_path), "--json"))
    kept = json.loads((tmp_path / "recording.json").read_text("utf-8"))["answer"]
    assert timeless(again) == timeless(kept)


def test_the_verifier_has_its_own_price_and_counts_into_the_budget() -> None:
    judged = {"right": True, "confidence": 0.9, "reason": "a red car"}
    form = {"verdicts": [{"number": 1, **judged}]}
    models = ("--planner", "openai:mine", "--price", "1,1,1", "--verifier", "openai:other")
    ask = asking("the car", *models, "--max-usd", "1")
    with StubServer([look("red car"), answer_leftmost("red car"), call(("judge", form))]) as server:
        refused = run(server, *ask)
        out = printed(run(server, *ask, "--verifier-price", "100,100,100"))
    assert refused.exit_code == 2
    assert "the price of openai:other is not known" in " ".join(refused.stderr.split())
    assert out["usage"]["parts"]["planner"]["cost"] == pytest.approx(220e-6)
    assert out["usage"]["parts"]["verify"]["cost"] == pytest.approx(110e-4)


def test_a_verifier_that_is_the_planner_has_its_price() -> None:
    models = ("--planner", "openai:mine", "--price", "1,1,1", "--verifier", "openai:mine")
    ask = asking("the car", *models, "--max-usd", "1")
    with StubServer([look("red car"), answer_leftmost("red car"), call(("judge", "{}"))]) as server:
        assert printed(run(server, *ask))["status"] == "answered"


@pytest.mark.parametrize("provider", ["openai", "gemini"])
def test_the_planner_asks_for_checks(provider: str) -> None:
    """`verify` and `check_complete` are calls of the planner that lead to calls of a verifier."""

    def play(request: Request) -> Step:
        body = json.dumps(request.body)
        if "You judge segmentation masks" in body:
            numbers = re.search(r"Masks to judge: ([\d, ]+)", body)
            assert numbers
            wrong = {"right": False, "confidence": 0.8, "reason": "orange"}
            verdicts = [{"number": int(n), **wrong} for n in numbers[1].split(",")]
            return call(("judge", {"verdicts": verdicts}))
        if "You check whether anything was missed" in body:
            missed = {"complete": False, "missing": "a small car", "regions": [[0, 35, 20, 60]]}
            return call(("report", missed))
        step = next(steps)
        return step(request) if callable(step) else step

    script: list[AnyStep] = [
        look("red car"),
        call(("verify", {"numbers": [1, 2], "statement": "a red car"})),
        call(("check_complete", {"query": "red cars", "numbers": [1]})),
        answer_leftmost("red car"),
        answer_leftmost("red car"),
    ]
    steps = iter(script)
    with StubServer(play) as server:
        done = run(server, *asking(LEFTMOST, "--planner", f"{provider}:any"))
    out = printed(done)
    assert_masks(out, truth_of("red_cars.png", LEFTMOST))
    calls = {name: part["calls"] for name, part in out["usage"]["parts"].items()}
    assert calls == {"planner": 5, "verify": 2, "check_complete": 1}
    assert "mask 2: WRONG (0.80): orange" in done.stderr
    assert "MISSING: a small car; look again at [0, 35, 20, 60]" in done.stderr

"""What a sample cost that came to no answer: in its row, in the sum, and against --max-usd."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from sam3_agent.agent import Agent
from sam3_agent.errors import PlannerError, SegmenterError
from sam3_agent.evals.benchmark import Sample
from sam3_agent.evals.benchmarks.scored import ScoredBenchmark
from sam3_agent.evals.metrics import counting_tally
from sam3_agent.evals.results_file import Run, RunFile, read_run
from sam3_agent.evals.run_header import new_header
from sam3_agent.evals.runner import run_samples, select_samples
from sam3_agent.evals.solvers import make_solver
from sam3_agent.evals.summary import summary
from sam3_agent.images import Pixels
from sam3_agent.messages import Message
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.scripted_planner import calling
from sam3_agent.planner import Price
from sam3_agent.tool import Tool
from sam3_agent.usage import TokenUsage
from tests.command_line import run
from tests.gemini_fixtures import MODEL, MockGemini, candidate_body
from tests.openai_fixtures import QUESTION, Server, planner
from tests.stub_server import Request, Step, StubServer, call, fault

SEGMENT = calling(("segment", {"phrases": ["dog"]}))
ANSWER = calling(("answer", {"text": "Both.", "numbers": [1, 2]}))
FAILS = Message("assistant", "fails")


class Priced:
    """Plays replies anew for each question, a dollar each; `fails` costs a quarter."""

    name = "priced"
    sees = True
    price = Price(1.0, 1.0, 1.0)

    def __init__(self, *replies: Message, cost: float | None = 1.0) -> None:
        self._replies = replies
        self._cost = cost

    def reply(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Message:
        place = sum(message.role == "assistant" for message in messages)
        if self._replies[place] is FAILS:
            raise PlannerError("no line", 2, TokenUsage(retries=2, input_tokens=7, cost=0.25))
        return replace(self._replies[place], spent=TokenUsage(calls=1, cost=self._cost))


def counts(count: int) -> ScoredBenchmark:
    samples = [
        Sample(f"s{n}", "dogs", lambda: np.zeros((100, 200, 3), np.uint8), None, about={"count": 2})
        for n in range(count)
    ]
    return ScoredBenchmark(
        "counts",
        samples,
        (),
        lambda rows: counting_tally((len(row.pred), row.about["count"]) for row in rows),
        lambda row: float(len(row.pred) == row.about["count"]),
    )


def asked(
    folder: Path,
    model: Priced,
    segmenter: FakeSegmenter,
    count: int = 4,
    name: str = "agent",
    verifier: Any = "none",
    **options: Any,
) -> Run:
    benchmark = counts(count)
    samples = select_samples(benchmark.samples)

    def agent(*models: Any) -> Agent:
        return Agent(*models, verifier=verifier)

    solver = make_solver(name, model, segmenter, agent=agent)
    header = new_header({}, benchmark.samples, count)
    with RunFile(folder, header, resume=bool(options.get("retry_failed"))) as file:
        return run_samples(benchmark, solver, samples, file, **options)


@pytest.mark.parametrize("name", ["agent", "oracle"])
def test_a_planner_that_fails_after_two_paid_replies_leaves_their_price_in_the_row(
    tmp_path: Path, segmenter: FakeSegmenter, name: str
) -> None:
    done = asked(tmp_path, Priced(SEGMENT, SEGMENT, FAILS), segmenter, 1, name)
    (row,) = done.ordered
    assert (row.status, row.error) == ("failed", "PlannerError: no line")
    assert row.cost == row.usage["cost"] == 2.25
    assert (row.usage["calls"], row.usage["retries"], row.usage["input_tokens"]) == (2, 2, 7)
    assert row.usage["parts"]["planner"]["cost"] == 2.25
    assert (row.usage["turns"], row.usage["tool_calls"]) == (2, 2)


@pytest.mark.parametrize(
    ("name", "replies"),
    [
        ("mllm", [Message("assistant", "where?"), FAILS]),
        ("reference", [calling(("segment_phrase", {"text_prompt": "dog"})), FAILS]),
    ],
)
def test_baselines_leave_the_price_of_a_failed_sample_too(
    tmp_path: Path, segmenter: FakeSegmenter, name: str, replies: list[Message]
) -> None:
    done = asked(tmp_path, Priced(*replies), segmenter, 1, name)
    assert (done.ordered[0].status, done.usd) == ("failed", 1.25)


def test_a_verifiers_price_counts_when_the_planner_fails_afterwards(
    tmp_path: Path, segmenter: FakeSegmenter
) -> None:
    verdict = {"number": 1, "right": True, "confidence": 0.9, "reason": ""}
    judge = Priced(calling(("judge", {"verdicts": [verdict]})), cost=0.5)
    verify = calling(("verify", {"numbers": [1], "statement": "a dog"}))
    done = asked(tmp_path, Priced(SEGMENT, verify, FAILS), segmenter, 1, verifier=judge)
    row = done.ordered[0]
    assert row.status == "failed"
    assert row.usage["parts"]["verify"]["cost"] == 0.5
    assert row.cost == 2.75


@pytest.mark.parametrize(
    ("error", "text"),
    [(SegmenterError("broken"), "SegmenterError: broken"), (KeyError(3), "a bug")],
)
def test_a_segmenter_that_fails_and_a_bug_do_not_hide_what_was_spent(
    tmp_path: Path, segmenter: FakeSegmenter, error: Exception, text: str
) -> None:
    class Failing(FakeSegmenter):
        def detect(self, *_: Any, **__: Any) -> Any:
            raise error

    done = asked(tmp_path, Priced(SEGMENT, ANSWER), Failing({}), 1)
    row = done.ordered[0]
    assert text in (row.error or "")
    assert (row.status, row.cost) == ("failed", 1.0)


def test_max_usd_stops_a_run_whose_samples_fail(tmp_path: Path, segmenter: FakeSegmenter) -> None:
    done = asked(tmp_path, Priced(SEGMENT, SEGMENT, FAILS), segmenter, 9, max_usd=4.0)
    assert len(done.rows) == 2
    assert done.usd == 4.5
    assert summary(counts(9), done)["missing"] == 7


def test_max_usd_begins_nothing_once_a_price_is_not_known(
    tmp_path: Path, segmenter: FakeSegmenter
) -> None:
    done = asked(tmp_path, Priced(SEGMENT, ANSWER, cost=None), segmenter, 9, max_usd=4.0)
    assert len(done.rows) == 1
    assert done.ordered[0].cost is None


def test_what_earlier_tries_cost_stays_when_a_sample_is_asked_again(
    tmp_path: Path, segmenter: FakeSegmenter
) -> None:
    asked(tmp_path, Priced(SEGMENT, FAILS), segmenter, 2)
    again = asked(tmp_path, Priced(SEGMENT, SEGMENT, FAILS), segmenter, 2, retry_failed=True)
    assert [row.cost for row in again.ordered] == [3.5, 3.5]
    done = asked(tmp_path, Priced(SEGMENT, ANSWER), segmenter, 2, retry_failed=True)
    assert [(row.status, row.usage["cost"], row.cost) for row in done.ordered] == [
        ("answered", 2.0, 5.5)
    ] * 2
    assert read_run(tmp_path).usd == 11.0
    cost = summary(counts(2), done)["usage"]["cost"]
    assert (cost["sum"], cost["mean"]) == (11.0, 2.0)


def test_the_sum_of_a_run_counts_its_failed_rows_and_the_mean_does_not(
    tmp_path: Path, segmenter: FakeSegmenter
) -> None:
    class Half(Priced):
        asked = 0

        def reply(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Message:
            self.asked += len(messages) == 2
            if self.asked % 2 and len(messages) > 2:
                raise PlannerError("no line")
            return super().reply(messages, tools)

    done = asked(tmp_path, Half(SEGMENT, ANSWER), segmenter, 4)
    assert [row.status for row in done.ordered] == ["failed", "answered"] * 2
    cost = summary(counts(4), done)["usage"]["cost"]
    assert (cost["sum"], cost["mean"]) == (6.0, 2.0)


def test_a_run_of_failures_alone_still_has_its_cost(
    tmp_path: Path, segmenter: FakeSegmenter
) -> None:
    done = asked(tmp_path, Priced(SEGMENT, FAILS), segmenter, 3)
    assert summary(counts(3), done)["usage"]["cost"]["sum"] == 3.75


def test_the_error_of_a_failed_ask_has_its_cost(image: Pixels, segmenter: FakeSegmenter) -> None:
    agent = Agent(Priced(SEGMENT, SEGMENT, FAILS), segmenter, verifier="none")
    with pytest.raises(PlannerError) as caught:
        agent.ask(image, "dogs")
    usage = caught.value.usage
    assert usage is not None
    assert (usage.turns, usage.spent.cost, usage.spent.retries) == (2, 2.25, 2)


def test_eval_counts_and_stops_at_what_a_failing_server_cost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(request: Request) -> Step:
        turns = sum(message["role"] == "assistant" for message in request.body["messages"])
        if turns == 2:
            return fault(400, words="broken")
        return call(("segment", {"phrases": ["dog"]}), input_tokens=1_000_000, output_tokens=0)

    with StubServer(answer) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.openai_url)
        monkeypatch.setenv("OPENAI_API_KEY", "k")
        options = ("--planner", "openai:m", "--price", "1,1,1", "--max-usd", "3", "--workers", "1")
        done = run("eval", "scenes", "--limit", 6, *options, "--out", tmp_path, "--json")
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["usage"]["cost"]["sum"] == 4.0
    assert (report["metrics"]["n"], report["missing"]) == (2, 4)
    assert "--max-usd is spent" in done.stderr


Spends = Callable[[], TokenUsage]


def refused_by_openai() -> TokenUsage:
    tokens = {"prompt_tokens": 1000, "completion_tokens": 50}
    choice = {"message": {"content": "", "refusal": "No."}}
    server = Server(httpx2.Response(200, json={"choices": [choice], "usage": tokens}))
    with pytest.raises(PlannerError, match="refused to answer") as caught:
        planner(server, price=(1.0, 0.1, 2.0)).reply(QUESTION, ())
    return caught.value.spent


def refused_by_gemini() -> TokenUsage:
    gemini = MockGemini(candidate_body(reason="SAFETY"))
    with pytest.raises(PlannerError, match=f"gemini model {MODEL}: it refused") as caught:
        gemini.reply()
    return caught.value.spent


@pytest.mark.parametrize("spends", [refused_by_openai, refused_by_gemini])
def test_an_answer_that_is_a_refusal_costs_its_tokens(spends: Spends) -> None:
    spent = spends()
    assert spent.calls == 1
    assert spent.input_tokens == 1000
    assert spent.bytes > 0
    assert spent.cost


def test_empty_answers_that_end_in_an_error_cost_their_tokens() -> None:
    gemini = MockGemini(*[candidate_body()] * 6)
    with pytest.raises(PlannerError) as caught:
        gemini.reply()
    spent = caught.value.spent
    assert (spent.retries, spent.input_tokens) == (6, 6000)
    assert spent.cost

"""Whatever a model server answers, a planner gives a Message or raises a PlannerError."""

import traceback
from collections.abc import Callable

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings

from sam3_agent import Budget, Message, PlannerError
from sam3_agent.budget import UsageTracker
from sam3_agent.model.providers.gemini import GeminiPlanner
from sam3_agent.model.providers.openai_chat import OpenAIPlanner
from sam3_agent.model.providers.retries import Retrier
from sam3_agent.planner import Planner
from sam3_agent.registry import tools
from sam3_agent.reply import ask_planner
from tests.hostile_responses import GEMINI, OPENAI, responses

KEY = "sk-proj-0123456789abcdef"
TOOLS = tools()

quick = settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=list(HealthCheck),  # pyright: ignore[reportArgumentType]
    print_blob=True,
)
long = settings(quick, max_examples=5000)


def make_openai(client: httpx2.Client, retrier: Retrier) -> Planner:
    return OpenAIPlanner(
        "m", base_url="http://stub/v1", api_key=KEY, retrier=retrier, http_client=client
    )


def make_gemini(client: httpx2.Client, retrier: Retrier) -> Planner:
    return GeminiPlanner("g", api_key=KEY, retrier=retrier, http_client=client)


def holds(make: Callable[[httpx2.Client, Retrier], Planner], response: httpx2.Response) -> None:
    """A reply can be used and sent back, a failure is a PlannerError without the key; both cost."""
    requests = 0

    def serve(request: httpx2.Request) -> httpx2.Response:
        nonlocal requests
        requests += 1
        assert request.content.decode("utf-8")
        refused = httpx2.Response(400, json={"error": {"message": f"enough of {KEY}"}})
        return response if requests == 1 else refused

    retrier = Retrier("stub", "m", sleep=lambda seconds: None, attempts=2)
    with httpx2.Client(transport=httpx2.MockTransport(serve)) as client:
        planner, tracker = make(client, retrier), UsageTracker(Budget())
        conversation = [Message("system", "Find."), Message("user", "dogs?")]
        failure: PlannerError | None = None
        try:
            reply = ask_planner(planner, "planner", conversation, TOOLS, tracker)
            assert tracker.total.calls == 1
            assert 0 <= tracker.total.input_tokens < 2**53
            results = [Message("tool", "Done.", tool_call_id=call.id) for call in reply.tool_calls]
            ask_planner(planner, "planner", [*conversation, reply, *results], TOOLS, tracker)
        except PlannerError as error:
            failure = error
    # the second answer of the server is always a refusal
    assert failure is not None
    assert len(str(failure)) < 1500
    assert "\n" not in str(failure)
    assert KEY not in "".join(traceback.format_exception(failure))
    assert tracker.total.calls + tracker.total.retries >= 1


@quick
@given(responses(OPENAI))
def test_no_response_of_an_openai_server_is_a_traceback(response: httpx2.Response) -> None:
    holds(make_openai, response)


@quick
@given(responses(GEMINI))
def test_no_response_of_a_gemini_server_is_a_traceback(response: httpx2.Response) -> None:
    holds(make_gemini, response)


@pytest.mark.nightly
@pytest.mark.timeout(3000)
@long
@given(responses(OPENAI))
def test_none_of_many_responses_of_an_openai_server_is_a_traceback(
    response: httpx2.Response,
) -> None:
    holds(make_openai, response)


@pytest.mark.nightly
@pytest.mark.timeout(3000)
@long
@given(responses(GEMINI))
def test_none_of_many_responses_of_a_gemini_server_is_a_traceback(
    response: httpx2.Response,
) -> None:
    holds(make_gemini, response)

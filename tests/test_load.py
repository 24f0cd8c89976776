"""Many calls at a time on one agent and one server: results as alone, no errors."""

from sam3_agent.evals.bench import load
from sam3_agent.evals.bench.measurement import Measurement


def counts(measured: list[Measurement]) -> dict[str, float | None]:
    """What was measured in calls, by the last words of its name."""
    return {one.work.rpartition(": ")[2]: one.ours for one in measured if one.unit == "calls"}


def test_an_agent_answers_many_at_a_time_and_in_a_forked_worker_as_it_does_alone() -> None:
    measured = list(load.agent_load(24))
    assert counts(measured) == {"errors": 0, "unlike the same alone": 0}, measured
    assert any("forked" in one.work and one.met for one in measured)


def test_a_server_answers_many_at_a_time_as_it_does_alone() -> None:
    measured = list(load.server_load(24))
    assert counts(measured) == {"errors": 0, "unlike the same alone": 0}, measured


def test_errors_and_other_results_are_found() -> None:
    def answer(call: load.Call) -> str | None:
        if call.concepts:
            raise ValueError("broken")
        return None if call.given_up else call.question[:20]

    outcome = load.run(load.calls(100), answer, {call: call.question for call in load.KINDS})
    errors, unlike, growth, seconds = load.rows("a broken agent", outcome)
    assert (errors.met, unlike.met) == (False, False)
    assert "ValueError: broken" in errors.note
    assert unlike.ours == sum(
        len(call.question) > 20 and not call.given_up for call in load.calls(100)
    )
    assert growth.target == "at most 10"
    assert seconds.ours is not None

"""Many calls at a time on one agent and one server: results as alone, no errors."""

import pytest

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
    assert growth.target == "at most 10, beyond two standard errors"
    assert seconds.ours is not None


@pytest.mark.parametrize(("each", "met"), [(0.0, True), (0.02, False)])
def test_memory_that_grows_is_found_whatever_its_noise(each: float, met: bool) -> None:
    noise = (5.0, -3.0, -7.0, 4.0, 1.0)
    memory = [(done, 900 + each * done + noise[done // 50 % 5]) for done in range(0, 2000, 50)]
    outcome = load.Outcome(seconds=[1.0], memory=memory)
    (growth,) = (row for row in load.rows("a server", outcome) if row.unit == "MB")
    assert growth.met == met
    assert growth.ours == pytest.approx(1000 * each, abs=3)

"""The solvers that an agent is compared with: the MLLM's own boxes, Meta's loop, one phrase."""

import json
from typing import Any

import numpy as np
import pytest

from sam3_agent.errors import InputError, SegmenterError
from sam3_agent.evals.benchmark import Sample
from sam3_agent.evals.solvers import make_solver
from sam3_agent.evals.solvers.box_parsing import Layout, parse_boxes
from sam3_agent.evals.solvers.meta_agent import MAX_TURNS, MetaAgentSolver
from sam3_agent.evals.solvers.mllm_boxes import BoxSolver, usual_layout
from sam3_agent.evals.solvers.segmenter_only import SegmenterSolver
from sam3_agent.images import Pixels
from sam3_agent.messages import Message
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.offline.planner import OfflinePlanner
from sam3_agent.model.scripted_planner import ScriptedPlanner, calling
from tests.conftest import SHARED

MLLM = SHARED / "data" / "mllm_responses"
needs_shared = pytest.mark.skipif(not MLLM.exists(), reason="no recorded answers here")


def sample(query: str) -> Sample:
    return Sample("s", query, lambda: np.zeros((100, 200, 3), np.uint8), None)


def reply(text: str) -> Message:
    return Message("assistant", text)


def recorded() -> dict[str, dict[str, Any]]:
    lines = (MLLM / "responses.jsonl").read_text("utf-8").splitlines()
    return {one["id"]: one for one in map(json.loads, lines)}


@needs_shared
def test_recorded_answers_give_the_boxes_that_public_parsers_read() -> None:
    golden = json.loads((SHARED / "golden" / "mllm_parse.json").read_text("utf-8"))
    compared = 0
    for expected in golden["answers"]:
        width, height = expected["size_wh"]
        one = recorded()[expected["id"]]
        boxes = expected.get("pixel_xyxy") or expected["supervision"]["xyxy"]
        found = parse_boxes(one["raw"], (height, width), "xy1000")
        assert found is not None, expected["id"]
        distinct = list(dict.fromkeys(map(tuple, boxes)))
        clipped = np.clip(distinct, 0, [width, height, width, height])
        got = {tuple(np.round(read.box, 3)) for read in found}
        assert got == {tuple(np.round(box, 3)) for box in clipped}, expected["id"]
        compared += len(got)
    assert compared > 60


@needs_shared
def test_prose_without_boxes_is_no_list() -> None:
    for name in ("r10", "r12", "r13", "r14", "r15"):
        assert parse_boxes(recorded()[name]["raw"], (480, 640), "xy1000") is None
    found = parse_boxes(recorded()["r16"]["raw"], (500, 1000), "xy1000")
    assert [one.box for one in found or ()] == [(696, 150, 999, 499.5)]


@needs_shared
def test_malformed_answers_of_issue_threads_give_what_is_whole_in_them() -> None:
    lines = (MLLM / "issue_samples.jsonl").read_text("utf-8").splitlines()
    found = {
        one["id"]: parse_boxes(one["raw"], (1000, 2000), "xy") for one in map(json.loads, lines)
    }
    assert [one.box for one in found["i06"] or ()] == [(135, 114, 1016, 672)]
    assert all(not boxes for name, boxes in found.items() if name not in ("i03", "i06"))


@pytest.mark.parametrize(
    ("text", "layout", "expected"),
    [
        ("[]", "xy1000", []),
        ("```json\n[]\n```", "xy1000", []),
        ("There is none.", "xy1000", None),
        ("", "xy1000", None),
        ('[{"bbox_2d": [0, 0, 500, 500], "label": "a"}]\n```', "xy1000", [(0, 0, 100, 50)]),
        ('{"box_2d": [0, 100, 500, 200]}', "xy1000", [(20, 0, 40, 50)]),
        ('{"bbox_2d": [10, 20, 30, 40]}', "xy", [(10, 20, 30, 40)]),
        ('{"bbox_2d": [500, 500, 0, 0]}', "xy1000", [(0, 0, 100, 50)]),
        ('{"bbox_2d": [0,0,500,500]}\n{"bbox_2d": [500,0,1000,500]}', "xy1000", 2),
        ('{"bbox_2d": [[0,0,500,500],[500,0,1000,500]]}', "xy1000", 2),
        ('[{"bbox_2d": [0,0,500,500], "label": "a"}, {"bbox_2d": [500, 0, 10', "xy1000", 1),
        ('{"bbox_2d": [0,0,500,500]}{"bbox_2d": [0,0,500,500]}', "xy1000", 1),
        ("[[0, 0, 500, 500]]", "xy1000", 1),
        ('{"bbox_2d": [1,2,3,4,5,6,7,8,9]}', "xy1000", None),
        ('{"bbox_2d": [0, 0, 0, 500]}', "xy1000", []),
        ('{"bbox_2d": [0, 0, 5000, 500]}', "xy1000", []),
        ('{"bbox_2d": [0, 0, 1010, 500]}', "xy1000", [(0, 0, 200, 50)]),
        ('<think>[1, 2, 3, 4]</think> {"bbox_2d": [0,0,500,500]}', "xy1000", 1),
        ("(0,0),(500,500)", "xy1000", [(0, 0, 100, 50)]),
    ],
)
def test_boxes_are_read_in_whatever_form_they_come(
    text: str, layout: Layout, expected: list[tuple[float, ...]] | int | None
) -> None:
    found = parse_boxes(text, (100, 200), layout)
    if isinstance(expected, int):
        assert found is not None
        assert len(found) == expected
    else:
        assert (None if found is None else [one.box for one in found]) == expected


def test_labels_stay_with_their_boxes() -> None:
    text = '[{"label": "cat", "bbox_2d": [0,0,500,500]}, {"bbox_2d": [500,0,999,500]}]'
    assert [one.label for one in parse_boxes(text, (100, 200), "xy1000") or ()] == ["cat", ""]


def test_a_family_of_models_has_its_own_box_layout() -> None:
    assert usual_layout("gemini:gemini-3.8-flash") == "yx1000"
    assert usual_layout("openai:google/gemini-2.5-pro") == "yx1000"
    assert usual_layout("openai:Qwen/Qwen3-VL-8B-Instruct") == "xy1000"
    assert usual_layout("openai:qwen2.5-vl-7b") == "xy"


def test_the_mllms_boxes_become_the_masks_of_the_objects_in_them(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    planner = ScriptedPlanner(
        [
            reply('[{"bbox_2d": [60, 210, 295, 690], "label": "dog"}]'),
            reply("nothing"),
            reply("[]"),
        ]
    )
    solver = BoxSolver(planner, segmenter)
    outcome = solver.solve(image, sample("the dog on the left"))
    assert outcome.status == "answered"
    assert outcome.pred.boxes.tolist() == [[10, 20, 60, 70]]
    assert outcome.pred.phrases == ("dog",)
    assert outcome.usage.turns == 1
    none = solver.solve(image, sample("the cat"))
    assert (none.status, len(none.pred), none.usage.turns) == ("no_target", 0, 2)
    assert "0 to 1000" in planner.seen[0][0].text


def test_an_mllm_that_writes_no_boxes_twice_ends_out_of_budget(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    outcome = BoxSolver(ScriptedPlanner([reply("Left."), reply("There!")]), segmenter).solve(
        image, sample("the dog")
    )
    assert (outcome.status, len(outcome.pred)) == ("out_of_budget", 0)


class Exemplars(FakeSegmenter):
    """A segmenter without box prompts, as the tiny SAM 3."""

    def segment_at(self, features: Any, prompt: Any) -> Any:
        raise SegmenterError("it has no tracker")


def test_a_segmenter_without_box_prompts_gets_the_box_as_an_exemplar(image: Pixels) -> None:
    segmenter = Exemplars({"dog": [(10, 20, 60, 70), (120, 40, 150, 70)]})
    answer = '{"bbox_2d": [610, 410, 740, 690], "label": "dog"}'
    outcome = BoxSolver(ScriptedPlanner([reply(answer)]), segmenter).solve(image, sample("a dog"))
    assert outcome.pred.boxes.tolist() == [[120, 40, 150, 70]]


def test_the_whole_query_is_one_phrase_and_one_too_long_finds_nothing(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    solver = SegmenterSolver(segmenter)
    assert len(solver.solve(image, sample("dog")).pred) == 2
    nothing = solver.solve(image, sample("dog " * 40))
    assert (nothing.status, len(nothing.pred)) == ("unable", 0)


def reference(image: Pixels, segmenter: FakeSegmenter, *replies: Message) -> Any:
    planner = ScriptedPlanner(replies)
    return MetaAgentSolver(planner, segmenter).solve(image, sample("the leftmost dog")), planner


PHRASE = ("segment_phrase", {"text_prompt": "dog"})
LEASH = ("segment_phrase", {"text_prompt": "leash"})


def test_the_reference_forgets_masks_and_messages_of_earlier_phrases(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    outcome, planner = reference(
        image,
        segmenter,
        calling(PHRASE),
        calling(LEASH),
        calling(("select_masks_and_return", {"final_answer_masks": [1, 2, 7]})),
    )
    assert outcome.pred.phrases == ("leash",)
    assert outcome.status == "answered"
    assert outcome.found.phrases == ("dog", "dog", "leash")
    last = planner.seen[-1]
    assert [message.role for message in last] == ["system", "user", "assistant", "tool"]
    assert last[2].tool_calls[0].arguments == json.dumps(LEASH[1])
    assert '"dog"' in last[1].text
    assert sum(len(message.pictures) for message in last) == 2


def test_the_reference_keeps_only_the_better_of_masks_with_iom_above_three_tenths(
    image: Pixels,
) -> None:
    # the second lies to 40 % in the first, the third to 20 %
    boxes = [(0, 0, 50, 50), (30, 0, 80, 50), (90, 0, 140, 50), (130, 0, 180, 50)]
    segmenter = FakeSegmenter({"dog": boxes}, {"dog": [0.9, 0.8, 0.7, 0.6]})
    outcome, planner = reference(image, segmenter, calling(PHRASE), calling(("report_no_mask", {})))
    assert [box[0] for box in outcome.found.boxes.tolist()] == [0, 90, 130]
    assert "3 masks" in planner.seen[-1][-1].text
    assert outcome.status == "no_target"


def test_the_reference_checks_every_mask_by_itself_one_after_the_other(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    outcome, planner = reference(
        image,
        segmenter,
        calling(PHRASE),
        calling(("examine_each_mask", {})),
        reply("<verdict>Not Accept</verdict>"),
        reply("It is a dog. <verdict>Accept</verdict>"),
        calling(("select_masks_and_return", {"final_answer_masks": [1]})),
    )
    assert outcome.pred.boxes.tolist() == [[120, 40, 150, 70]]
    assert outcome.usage.turns == 5
    checks = planner.seen[2:4]
    assert [sum(len(m.pictures) for m in check) for check in checks] == [3, 3]
    after = planner.seen[-1]
    assert sum(len(message.pictures) for message in after) == 2


def test_the_reference_uses_a_phrase_once_and_runs_the_first_call_of_a_reply(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    outcome, planner = reference(
        image,
        segmenter,
        calling(PHRASE, LEASH),
        calling(PHRASE),
        calling(("select_masks_and_return", {"final_answer_masks": [2]})),
    )
    assert segmenter.asked == ["dog"]
    assert "was used before" in planner.seen[-1][-1].text
    assert outcome.pred.boxes.tolist() == [[120, 40, 150, 70]]


def test_wrong_calls_return_errors_and_a_hundred_turns_end_the_reference(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    wrong = [
        calling(("examine_each_mask", {})),
        calling(("dance", {})),
        calling(("segment_phrase", "{")),
        reply("I think it is a dog."),
    ]
    outcome, planner = reference(image, segmenter, *(wrong * 30))
    assert len(planner.seen) == MAX_TURNS
    assert (outcome.status, len(outcome.pred)) == ("out_of_budget", 0)
    assert outcome.usage.tool_errors == 75


def test_solvers_that_need_an_mllm_refuse_the_offline_planner(segmenter: FakeSegmenter) -> None:
    for name in ("mllm", "reference"):
        with pytest.raises(InputError, match="needs an MLLM"):
            make_solver(name, OfflinePlanner(), segmenter)
    with pytest.raises(InputError, match="no solver 'dance'"):
        make_solver("dance", None, segmenter)
    with pytest.raises(InputError, match="written as yx1000, xy1000, xy"):
        make_solver("mllm", ScriptedPlanner([]), segmenter, boxes="round")

"""The tools of a planner: segment, look, measure, edit; and the errors of wrong calls."""

import json
from typing import Any

import numpy as np
import pytest

from sam3_agent import Agent, Masks, Observation, PromptError, Scene, ToolError
from sam3_agent.findings import Edit, Finding
from sam3_agent.images import Pixels
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.scripted_planner import ScriptedPlanner
from sam3_agent.observations import Measurements, SegmentFindings
from sam3_agent.registry import tools

RED, GREEN, GREY = (210, 30, 30), (30, 160, 60), (128, 128, 128)
PLACES: dict[str, list[tuple[int, int, int, int]]] = {
    "dog": [(10, 20, 60, 70), (120, 40, 150, 70)],
    "leash": [(50, 40, 90, 50)],
    "house": [(100, 10, 180, 90)],
    "animal": [(10, 20, 60, 70), (120, 40, 150, 70), (2, 2, 8, 8)],
}
SCORES = {"dog": [0.9, 0.8], "leash": [0.7], "house": [0.6], "animal": [0.9, 0.8, 0.3]}


@pytest.fixture
def scene() -> Scene:
    """200 x 100 pixels: a red dog, a dog in a green house, a leash over the first dog."""
    image = np.full((100, 200, 3), GREY, np.uint8)
    image[10:90, 100:180] = GREEN
    image[20:70, 10:60] = RED
    return Scene(image, FakeSegmenter(PLACES, SCORES))


def run(scene: Scene, name: str, **arguments: Any) -> Observation:
    (tool,) = (tool for tool in tools() if tool.name == name)
    result = tool.run(scene, json.dumps(arguments))
    assert isinstance(result, Observation)
    assert result.findings is None or json.dumps(result.findings.to_dict())
    return result


def found(result: Observation) -> SegmentFindings:
    assert isinstance(result.findings, SegmentFindings)
    return result.findings


def measured(result: Observation) -> Measurements:
    assert isinstance(result.findings, Measurements)
    return result.findings


def lines(scene: Scene, name: str, **arguments: Any) -> list[str]:
    return run(scene, name, **arguments).text.splitlines()


def test_a_mask_that_an_earlier_phrase_found_is_named_and_not_described_again(scene: Scene) -> None:
    run(scene, "segment", phrases=["dog", "leash"])
    result = run(scene, "segment", phrases=["animal"], threshold=0.2)
    assert result.text.splitlines() == [
        '"animal": masks 4; known already: 1, 2 (presence 0.90)',
        '4: "animal" score 0.30 box 1,2,4,8 area 0.18%',
    ]
    assert found(result).numbers == (1, 2, 4)
    assert found(result).masks.boxes[2].tolist() == [2, 2, 8, 8]


def test_the_same_call_again_gives_the_same_table(scene: Scene) -> None:
    first = run(scene, "segment", phrases=["dog"])
    assert run(scene, "segment", phrases=["dog"]).text == first.text


def test_a_threshold_moves_what_is_kept(scene: Scene) -> None:
    assert lines(scene, "segment", phrases=["animal"], threshold=0.85)[0].startswith(
        '"animal": masks 1 '
    )
    assert lines(scene, "segment", phrases=["animal"], threshold=0.1)[0].startswith(
        '"animal": masks 2, 3; known already: 1 '
    )


def test_a_region_is_percent_and_its_masks_are_masks_of_the_image(scene: Scene) -> None:
    class Regional(FakeSegmenter):
        """Finds one thing that fills the upper half of whatever it is shown."""

        def detect(self, features: Any, prompts: Any, selection: Any = None) -> Any:
            height, width = features
            self.things = {"dog": [(0, 0, width, height // 2)]}
            return super().detect(features, prompts)

    scene = Scene(scene.image, Regional({}))
    result = run(scene, "segment", phrases=["dog"], region=[50, 50, 100, 100])
    assert result.text.splitlines()[1].startswith('1: "dog" score 0.90 box 50,50,100,75 ')
    assert found(result).masks.boxes[0].tolist() == [100, 50, 200, 75]


def test_counting_leaves_out_the_presence_score(scene: Scene) -> None:
    asked = []

    class Watched(FakeSegmenter):
        def detect(self, features: Any, prompts: Any, selection: Any = None) -> Any:
            asked.append(selection)
            return super().detect(features, prompts, selection)

    scene = Scene(scene.image, Watched(PLACES))
    run(scene, "segment", phrases=["dog"], counting=True, threshold=0.7)
    (selection,) = asked
    assert (selection.presence, selection.measure, selection.threshold) == (False, "iom", 0.7)


def test_examples_are_mask_numbers_or_boxes(scene: Scene) -> None:
    run(scene, "segment", phrases=["dog"])
    by_number = lines(scene, "segment_like", positive=[2], negative=[[0, 0, 10, 10]])
    assert by_number == ['"like the exemplars": masks known already: 1, 2 (presence 0.90)']
    by_box = lines(scene, "segment_like", positive=[[50, 10, 90, 90]])
    assert by_box[1].startswith('3: "house" score 0.60 box 50,10,90,90')
    named = lines(scene, "segment_like", positive=[1], phrase="leash")
    assert named[0] == '"leash": masks 4 (presence 0.70)'


def test_a_point_or_a_box_gives_the_object_there(scene: Scene) -> None:
    at = lines(scene, "segment_at", points=[[35, 45]])
    assert at[1].startswith('1: "leash" score 0.70 box 25,40,45,50')
    around = run(scene, "segment_at", box=[60, 40, 75, 70])
    assert found(around).masks.boxes[0].tolist() == [120, 40, 150, 70]


@pytest.mark.parametrize(
    ("takes", "offered"),
    [(("exemplars", "clicks"), 7), (("exemplars",), 6), (("clicks",), 6), ((), 5)],
)
def test_a_planner_is_offered_what_the_segmenter_takes(
    takes: tuple[str, ...], offered: int
) -> None:
    class Limited(FakeSegmenter):
        prompts = frozenset(takes)

    names = set(Agent(ScriptedPlanner([]), Limited({})).tools)
    assert ("segment_like" in names) == ("exemplars" in takes)
    assert ("segment_at" in names) == ("clicks" in takes)
    assert len(names & {tool.name for tool in tools()}) == len(names)
    assert {"segment", "look", "measure", "edit", "answer"} <= names


def test_measure_gives_order_sizes_colours_and_each_pair(scene: Scene) -> None:
    run(scene, "segment", phrases=["dog", "leash", "house"])
    assert lines(scene, "measure", numbers=[1, 2, 3, 4]) == [
        "4 masks, 51% of the image in sum",
        "1: area 12.50% centre 17.5,45 red 100%",
        "2: area 4.50% centre 67.5,55 green 100%",
        "3: area 2.00% centre 35,45 grey 75%, red 25%",
        "4: area 32.00% centre 70,50 green 100%",
        "left to right: 1, 3, 2, 4",
        "top to bottom: 1, 3, 4, 2",
        "largest first: 4, 1, 2, 3",
        "pairs, the first as seen from the second, gaps in percent of the diagonal:",
        "1-2: left, above, gap 26.8",
        "1-3: left, overlap 4% of 1 and 25% of 3",
        "1-4: left, above, gap 17.9",
        "2-3: right, below, gap 13.4",
        "2-4: left, below, inside, overlap 100% of 2 and 14% of 4",
        "3-4: left, above, gap 4.5",
    ]


def test_one_mask_has_no_order_and_many_have_no_pairs(scene: Scene) -> None:
    run(scene, "segment", phrases=["dog"])
    assert len(lines(scene, "measure", numbers=[1])) == 2
    many = np.zeros((12, 100, 200), np.bool_)
    for i in range(12):
        many[i, 5:15, 16 * i : 16 * i + 10] = True
    scene = Scene(scene.image, FakeSegmenter({"dot": many}))
    run(scene, "segment", phrases=["dot"])
    rows = lines(scene, "measure", numbers=list(range(12, 0, -1)))
    assert rows[-4:] == [
        "left to right: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12",
        "top to bottom: 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1",
        "largest first: 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1",
        "(pairs are told for up to 8 masks)",
    ]


def test_a_gap_is_between_the_nearest_pixels_of_large_outlines() -> None:
    y, x = np.mgrid[:900, :1600]
    discs = np.array([np.hypot(x - cx, y - 450) <= 400 for cx in (410, 1190)])
    discs[1] &= x > 820
    scene = Scene(np.zeros((900, 1600, 3), np.uint8), FakeSegmenter({"disc": discs}))
    run(scene, "segment", phrases=["disc"])
    (pair,) = measured(run(scene, "measure", numbers=[1, 2])).pairs
    columns = [np.flatnonzero(disc.any(axis=0)) for disc in discs]
    true = columns[1].min() - columns[0].max() - 1
    assert pair.gap * np.hypot(1600, 900) == pytest.approx(true, abs=1)


@pytest.mark.parametrize(
    ("rgb", "name"),
    [
        ((0, 0, 0), "black"), ((15, 15, 15), "black"), ((30, 30, 34), "black"),
        ((128, 128, 128), "grey"), ((250, 250, 250), "white"), ((200, 20, 20), "red"),
        ((220, 30, 30), "red"), ((128, 0, 0), "red"), ((120, 10, 15), "red"),
        ((250, 130, 20), "orange"), ((240, 130, 20), "orange"), ((120, 70, 30), "brown"),
        ((136, 84, 80), "brown"), ((112, 72, 64), "brown"), ((150, 100, 60), "brown"),
        ((240, 220, 40), "yellow"), ((240, 210, 30), "yellow"), ((40, 150, 60), "green"),
        ((30, 140, 60), "green"), ((100, 140, 30), "green"), ((30, 60, 200), "blue"),
        ((0, 110, 220), "blue"), ((120, 190, 240), "blue"), ((130, 50, 180), "purple"),
        ((130, 50, 190), "purple"), ((250, 150, 190), "pink"), ((245, 180, 185), "pink"),
        ((230, 60, 170), "pink"),
    ],
)  # fmt: skip
def test_measure_names_colours_as_people_do(rgb: tuple[int, int, int], name: str) -> None:
    image = np.empty((20, 20, 3), np.uint8)
    image[:] = rgb
    scene = Scene(image, FakeSegmenter({"patch": [(2, 2, 18, 18)]}))
    run(scene, "segment", phrases=["patch"])
    (mask,) = measured(run(scene, "measure", numbers=[1])).masks
    assert mask.colors == {name: 1.0}


def test_crops_show_each_mask_at_full_resolution_under_its_number(scene: Scene) -> None:
    run(scene, "segment", phrases=["dog", "leash"])
    crops = run(scene, "look", numbers=[1, 3])
    assert crops.text == "Close-ups, row by row: 1, 3."
    (picture,) = crops.pictures
    assert max(picture.shape) <= 1568
    left, right = picture[:, : picture.shape[1] // 2], picture[:, picture.shape[1] // 2 :]
    assert (np.abs(left.astype(int) - RED).max(axis=-1) < 8).mean() > 0.2
    assert (np.abs(right.astype(int) - GREY).max(axis=-1) < 8).mean() > 0.2


def test_a_region_is_enlarged_with_only_the_masks_that_are_named(scene: Scene) -> None:
    run(scene, "segment", phrases=["dog", "leash"])
    plain = run(scene, "look", region=[50, 0, 100, 100])
    assert plain.text == "The region 50,0,100,100 at 7.7 times its pixels."
    assert plain.pictures[0].shape == (768, 768, 3)
    assert (plain.pictures[0][300, 400] == GREEN).all()
    marked = run(scene, "look", region=[50, 0, 100, 100], numbers=[2])
    assert (marked.pictures[0] != plain.pictures[0]).any()


def test_numbers_stay_for_good_whatever_is_edited(scene: Scene) -> None:
    run(scene, "segment", phrases=["dog", "leash", "house"])
    assert lines(scene, "edit", action="drop", numbers=[2]) == ["Dropped 2. Masks: 1, 3, 4."]
    merged = run(scene, "edit", action="merge", numbers=[1, 3])
    assert merged.text.splitlines() == [
        "Masks 1, 3 are now mask 5. Masks: 4, 5.",
        '5: "dog" score 0.90 box 5,20,45,70 area 14.0%',
    ]
    assert lines(scene, "edit", action="subtract", numbers=[4, 2]) == [
        "Mask 4 without 2 is now mask 6. Masks: 5, 6.",
        '6: "house" score 0.60 box 50,10,90,90 area 27.5%',
    ]
    assert lines(scene, "edit", action="restore", numbers=[2, 4]) == [
        "Restored 2, 4. Masks: 2, 4-6."
    ]
    assert [len(scene.masks), scene.numbers] == [6, (2, 4, 5, 6)]
    kinds = [step.action if isinstance(step, Edit) else step.phrase for step in scene.history]
    assert kinds == ["dog", "leash", "house", "drop", "merge", "subtract", "restore"]
    assert isinstance(scene.history[0], Finding)


def test_dropped_masks_are_named_as_that_and_leave_the_pictures(scene: Scene) -> None:
    before = run(scene, "segment", phrases=["dog"])
    run(scene, "edit", action="drop", numbers=[2])
    after = run(scene, "segment", phrases=["dog"])
    assert after.text.splitlines()[0] == '"dog": masks 1; dropped: 2 (presence 0.90)'
    assert len(after.text.splitlines()) == 2
    assert (after.pictures[0] != before.pictures[0]).any()
    assert found(after).numbers == (1,)
    run(scene, "edit", action="drop", numbers=[1])
    assert run(scene, "segment", phrases=["dog"]).pictures == ()
    assert lines(scene, "measure", numbers=[1])[1].startswith("1: area 12.50%")


def test_the_masks_found_last_follow_the_edits(scene: Scene) -> None:
    run(scene, "segment", phrases=["dog"])
    run(scene, "segment", phrases=["leash", "house"])
    best = [scene.last_found]
    for action, numbers in (("drop", [4]), ("merge", [1, 3])):
        run(scene, "edit", action=action, numbers=numbers)
        best.append(scene.last_found)
    assert best == [(3, 4), (3,), (5,)]


def test_what_would_change_nothing_or_leave_nothing_is_refused(scene: Scene) -> None:
    run(scene, "segment", phrases=["dog", "house"])
    with pytest.raises(PromptError, match="nothing of mask 2 is left without 3; drop it instead"):
        run(scene, "edit", action="subtract", numbers=[2, 3])
    with pytest.raises(PromptError, match="mask 1 has no pixel in common with 3"):
        run(scene, "edit", action="subtract", numbers=[1, 3])
    assert len(scene.masks) == 3


def test_a_table_of_very_many_masks_is_cut_and_says_so() -> None:
    dots = np.zeros((70, 60, 700), np.bool_)
    for i in range(70):
        dots[i, 20:26, 10 * i : 10 * i + 6] = True
    scene = Scene(np.zeros((60, 700, 3), np.uint8), FakeSegmenter({"dot": dots}))
    rows = lines(scene, "segment", phrases=["dot"])
    assert rows[0] == '"dot": masks 1-70 (presence 0.90)'
    assert len(rows) == 62
    assert rows[-1] == "and 10 more, 61-70, in the picture without a line here"


WRONG: dict[str, tuple[str, dict[str, Any], str]] = {
    "no phrase": ("segment", {"phrases": []}, "1 to 16 phrases, not 0"),
    "a threshold in percent": (
        "segment", {"phrases": ["dog"], "threshold": 30}, "30 is not a score from 0 to 1"),
    "a negative threshold": ("segment", {"phrases": ["dog"], "threshold": -0.1}, "from 0 to 1"),
    "a region in pixels": (
        "segment", {"phrases": ["dog"], "region": [0, 0, 640, 480]},
        "the region [0, 0, 640, 480] is not x0,y0,x1,y1 in percent of the image, 0 to 100"),
    "a region in fractions": (
        "segment", {"phrases": ["dog"], "region": [0.1, 0, 0.5, 0.9]}, "seems to be in fractions"),
    "a region turned round": (
        "segment", {"phrases": ["dog"], "region": [50, 0, 20, 90]}, "x0 < x1 and y0 < y1"),
    "a region of three": ("segment", {"phrases": ["dog"], "region": [1, 2, 3]}, "x0,y0,x1,y1"),
    "a region too small": (
        "segment", {"phrases": ["dog"], "region": [50, 50, 50.1, 50.1]}, "smaller than 2x2"),
    "counting as a word": ("segment", {"phrases": ["dog"], "counting": "some"}, "a string"),
    "no example": ("segment_like", {"positive": []}, "at least one of them positive"),
    "an unknown example": ("segment_like", {"positive": [9]}, "there is no mask 9: the masks are"),
    "an example in pixels": ("segment_like", {"positive": [[0, 0, 300, 90]]}, "in percent"),
    "an example as text": ("segment_like", {"positive": ["dog"]}, "argument 'positive'"),
    "too many examples": ("segment_like", {"positive": [1] * 17}, "1 to 16 examples"),
    "an endless phrase": (
        "segment_like", {"positive": [1], "phrase": "very " * 40 + "big dog"}, "words"),
    "no place": ("segment_at", {}, "needs points on the object, or a box"),
    "a point in pixels": ("segment_at", {"points": [[320, 40]]}, "[320, 40] is not x,y in percent"),
    "a bare number": ("segment_at", {"points": 32}, 'call it like segment_at({"points": [['),
    "a point of three": ("segment_at", {"points": [[1, 2, 3]]}, "is not x,y in percent"),
    "points without end": ("segment_at", {"points": [[30, 30]] * 17}, "at most 16 points"),
    "nothing to look at": ("look", {}, "needs the numbers of masks, or a region"),
    "no mask to look at": ("look", {"numbers": []}, "1 masks or more, not 0"),
    "an unknown mask to look at": ("look", {"numbers": [1, 7]}, "there is no mask 7"),
    "too many to look at": ("look", {"numbers": list(range(1, 31))}, "there is no mask"),
    "a region out of the image": ("look", {"region": [90, 90, 130, 130]}, "0 to 100"),
    "nothing to measure": ("measure", {"numbers": []}, "1 masks or more, not 0"),
    "mask 0": ("measure", {"numbers": [0]}, "there is no mask 0: the masks are 1 to 4"),
    "a fraction of a mask": ("measure", {"numbers": [1.5]}, "argument 'numbers'"),
    "an unknown action": (
        "edit", {"action": "delete", "numbers": [1]}, "not one of drop, restore, merge, subtract"),
    "merging one": ("edit", {"action": "merge", "numbers": [2, 2]}, "2 masks or more, not 1"),
    "dropping nothing": ("edit", {"action": "drop", "numbers": []}, "1 masks or more, not 0"),
    "editing the unknown": ("edit", {"action": "drop", "numbers": [99]}, "there is no mask 99"),
    "subtracting all": ("edit", {"action": "subtract", "numbers": [2, 4]}, "drop it instead"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "arguments", "message"), WRONG.values(), ids=WRONG.keys())
def test_bad_arguments_are_answered_with_one_line_that_says_what_is_accepted(
    scene: Scene, name: str, arguments: dict[str, Any], message: str
) -> None:
    run(scene, "segment", phrases=["dog", "leash", "house"])
    with pytest.raises((ToolError, PromptError)) as raised:
        run(scene, name, **arguments)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
    assert len(scene.masks) == 4
    assert scene.dropped == frozenset()


def test_without_any_mask_the_error_says_so(image: Pixels) -> None:
    scene = Scene(image, FakeSegmenter({}))
    for name in ("measure", "look"):
        with pytest.raises(ToolError, match="there is no mask 1: no mask has been found yet"):
            run(scene, name, numbers=[1])
    assert isinstance(scene.masks, Masks)

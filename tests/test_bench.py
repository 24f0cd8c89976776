"""The bench: what was measured, against what, and whether the target is met."""

import pytest

from sam3_agent import InputError
from sam3_agent.evals.bench import bench
from tests.command_line import run, run_json


def test_every_measurement_names_its_work_and_its_target() -> None:
    rows = list(bench(["masks"], masks=3))
    assert [row.work for row in rows] == [
        "logits to RLE, 3 masks at 1080p",
        "overlap removal, 3 masks at 1080p",
    ]
    for row in rows:
        assert row.ours
        assert row.ours > 0
        assert row.target.startswith("at most 1/")
        if row.reference is None:
            assert row.met is None
            assert row.to_dict()["ratio"] is None


def test_pictures_are_measured_and_drawn_fast_enough() -> None:
    many, few = bench(["pictures"], masks=30)
    assert (many.work, few.work) == (
        "picture of 30 masks at 1080p",
        "picture of 20 masks at 1080p",
    )
    assert many.target == "at most 150 ms for 100 masks"
    assert few.ours
    assert few.reference is None or few.reference > 10 * few.ours


def test_masks_of_a_large_photo_stay_under_the_memory_target() -> None:
    (row,) = bench(["memory"], masks=20)
    assert row.met
    assert row.ours is not None
    assert 0 <= row.ours <= 300


def test_an_unknown_benchmark_is_refused() -> None:
    with pytest.raises(InputError, match="no benchmark 'speed'; choose: phrases"):
        list(bench(["speed"]))


def test_what_only_metas_package_can_measure_is_null_without_it() -> None:
    (row,) = run_json("bench", "numbers")["rows"]
    assert (row["ours"] is None) == (row["note"] == "Meta's package is not installed")


def test_the_command_prints_one_json_object() -> None:
    assert len(run_json("bench", "masks", "--masks", 2)["rows"]) == 2
    refused = run("bench", "speed")
    assert refused.exit_code == 2
    assert "no benchmark 'speed'" in refused.stderr

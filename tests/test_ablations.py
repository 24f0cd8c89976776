"""The ablation of checks: a simulated model errs at its rates; right checks repair answers."""

from sam3_agent.evals.ablations.review_checks import ablation, table, variants
from sam3_agent.evals.ablations.simulated_mllm import ModelFaults, SegmenterFaults

FLAWLESS = ModelFaults(picks=1.0, mask_checks=1.0, exhaustivity=1.0, comparisons=1.0)


def test_a_flawless_model_over_a_flawless_segmenter_is_always_right() -> None:
    results = ablation(5, 8, SegmenterFaults(0.0, 0.0, 0.0), variants(FLAWLESS))
    assert {one.giou for one in results.values()} == {1.0}
    assert results["plain"].calls == 2
    assert results["+ complete"].calls == 3


def test_only_the_search_for_what_is_missing_finds_what_the_segmenter_hides() -> None:
    results = ablation(
        5, 24, SegmenterFaults(dropped=0.5, invented=0.0, doubtful=0.0), variants(FLAWLESS)
    )
    assert results["plain"].giou < 0.9
    assert results["+ verify, accepted"].gain == 0
    assert results["+ complete"].giou == 1.0


def test_verifying_repairs_wrong_picks_when_the_verifier_is_right() -> None:
    faults = ModelFaults(picks=0.7, mask_checks=1.0, exhaustivity=1.0)
    results = ablation(5, 24, SegmenterFaults(0.0, 0.5, 0.0), variants(faults))
    assert results["+ verify, accepted"].gain > 0.05


def test_the_table_has_a_row_for_each_solver() -> None:
    plain = {"plain": variants(ModelFaults())["plain"]}
    lines = list(table(ablation(5, 3, SegmenterFaults(), plain)))
    assert lines[2].startswith("| plain | ")
    assert lines[2].endswith("| +0.000 ± 0.000 | 2.0 |")

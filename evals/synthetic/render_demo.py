"""Composes the demo scenes under evals/demo; run once, the scenes are committed.

python -m sam3_agent.evals.synthetic.render_demo
"""

from dataclasses import replace
from pathlib import Path

from sam3_agent.evals.synthetic.annotated_set import AnnotatedScene, annotated_scene, write_scenes
from sam3_agent.evals.synthetic.referring import ReferringQuery

DEMO = Path(__file__).resolve().parents[1] / "demo"

SEEDS = {
    "red_cars": 2357,
    "ducks": 41,
    "horses": 47,
    "shirts": 63,
    "books": 149,
    "buses": 214,
    "vehicles": 262,
    "balloons": 337,
    "hearts": 382,
    "umbrella": 400,
    "backpacks": 507,
    "trees": 609,
}
"""The seeds of the demo scenes, by the name of their image."""


def demo_scenes() -> list[AnnotatedScene]:
    """Composes the demo scenes, 3 queries each; the README asks for "the leftmost red car"."""
    named = [
        replace(annotated_scene(seed, queries=3), file_name=f"{name}.png")
        for name, seed in SEEDS.items()
    ]
    first = named[0]
    cars = first.scene.matching("red car")
    leftmost = min(cars, key=lambda index: sum(first.scene.objects[index].box[::2]))
    readme = ReferringQuery("the leftmost red car", "superlative", (leftmost,))
    return [replace(first, queries=(readme, *first.queries)), *named[1:]]


def main() -> None:
    write_scenes(DEMO, demo_scenes())
    print(DEMO)


if __name__ == "__main__":
    main()

"""The domain of the shipped checkpoint: a photo is refused everywhere, a composed scene nowhere."""

import asyncio
import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import sam3_agent.plugin as plugin
from sam3_agent import Agent
from sam3_agent.errors import SegmenterError
from sam3_agent.evals.benchmark import Sample
from sam3_agent.evals.solvers import make_solver
from sam3_agent.evals.synthetic.fit_domain import Measured, cross_validated, fitted, scenes, scores
from sam3_agent.evals.synthetic.scenes import compose
from sam3_agent.evals.synthetic.sprites import STYLES
from sam3_agent.images import Pixels, load_image
from sam3_agent.messages import Message
from sam3_agent.model.checkpoints import TINY
from sam3_agent.model.domain import Domain, measures
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.sam3 import Sam3Segmenter
from sam3_agent.model.scripted_planner import ScriptedPlanner, calling
from sam3_agent.segmenter import outside_domain
from tests.command_line import run_json
from tests.conftest import SHARED

DEMO = Path(__file__).parents[1] / "evals" / "demo"
RED_CARS = str(DEMO / "red_cars.png")
EFFORTS = ("fast", "balanced", "exhaustive", "thorough")
WAYS_ON = ("open:tiny", "facebook/sam3", "openai:MODEL")


def landscape(seed: int = 0, width: int = 400, height: int = 300) -> Pixels:
    """A stand-in for a photo: amplitudes fall with 1/frequency, as they do in photos."""
    rng = np.random.default_rng(seed)
    y, x = np.fft.fftfreq(height)[:, None] * height, np.fft.fftfreq(width)[None, :] * width
    falling = 1 / np.maximum(np.hypot(x, y), 1.0)
    layers = [
        np.fft.ifft2(np.fft.fft2(rng.normal(size=(height, width))) * falling).real for _ in range(3)
    ]
    field = np.stack([layers[0] + 0.3 * layer for layer in layers], axis=-1)
    scaled = 120 + 45 * field / field.std()
    return np.asarray(np.clip(scaled, 0, 255), np.uint8)


def versions(picture: Pixels) -> dict[str, Pixels]:
    """A picture as people hand it on."""
    image = Image.fromarray(picture)
    width, height = image.size

    def compressed(quality: int) -> Image.Image:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        return Image.open(buffer).convert("RGB")

    screen = Image.new("RGB", (width + 80, height + 120), (238, 238, 238))
    screen.paste(image, (40, 90))
    made = {
        "whole": image,
        "jpeg": compressed(60),
        "half": image.resize((width // 2, height // 2), Image.Resampling.BICUBIC),
        "large": image.resize((4 * width, 4 * height), Image.Resampling.BILINEAR),
        "cut": image.crop((width // 5, height // 6, width, height)),
        "screenshot": screen,
    }
    return {name: np.asarray(one) for name, one in made.items()}


@pytest.fixture(scope="module")
def tiny() -> Sam3Segmenter:
    return Sam3Segmenter("tiny", device="cpu")


@pytest.fixture(scope="module")
def domain() -> Domain:
    return Domain.read(TINY / "domain.json")


@pytest.fixture
def photo_file(tmp_path: Path) -> str:
    Image.fromarray(landscape()).save(tmp_path / "photo.png")
    return str(tmp_path / "photo.png")


class CountingPlanner:
    """A planner whose calls cost money, and which must not be asked."""

    name = "counting"
    asked = 0

    def reply(self, messages: Any, tools: Any) -> Message:
        self.asked += 1
        raise AssertionError("the planner was asked about an image outside the domain")


@pytest.mark.parametrize("style", STYLES)
def test_scenes_of_every_style_and_size_are_inside(domain: Domain, style: str) -> None:
    sizes = ((480, 640), None, (640, 480), (960, 1280))
    made = [
        compose(2_000_000 + n, size=sizes[n % len(sizes)], styles=(style,)).image for n in range(50)
    ]
    assert sum(domain.photo_score(one) > 0 for one in made) <= 1


def test_scenes_stay_inside_when_they_are_handed_on(domain: Domain) -> None:
    outside = [
        (seed, name)
        for seed in range(2_100_000, 2_100_030)
        for name, one in versions(compose(seed).image).items()
        if domain.photo_score(one) > 0
    ]
    assert len(outside) <= 3, outside


def test_demo_pictures_blanks_and_crowds_are_inside(domain: Domain) -> None:
    pictures = [load_image(path) for path in sorted(DEMO.glob("*.png"))]
    assert len(pictures) >= 12
    pictures += [np.full((90, 160, 3), shade, np.uint8) for shade in (0, 60, 128, 255)]
    four = [compose(seed).image for seed in range(4)]
    pictures.append(np.concatenate([np.concatenate(four[:2], 1), np.concatenate(four[2:], 1)], 0))
    assert max(domain.photo_score(one) for one in pictures) < 0


@pytest.mark.parametrize("seed", range(4))
def test_what_is_made_like_a_photo_is_outside_at_any_size(domain: Domain, seed: int) -> None:
    for name, one in versions(landscape(seed, 320 + 40 * seed)).items():
        assert domain.photo_score(one) > 0, name
    assert domain.photo_score(landscape(seed, 2000, 1500)) > 0
    grey = landscape(seed).mean(2, keepdims=True).repeat(3, 2).astype(np.uint8)
    assert domain.photo_score(grey) > 0


@pytest.mark.skipif(not (SHARED / "data" / "photos").exists(), reason="no photos here")
def test_photos_are_outside_and_their_crops_too(domain: Domain) -> None:
    data = SHARED / "data"
    files = [*(data / "photos").glob("*.*g"), *(data / "sam3_recorded").glob("*.jpg")]
    for path in files:
        for name, one in versions(load_image(path)).items():
            assert domain.photo_score(one) > 0, (path.name, name)
    assert len(files) >= 7


@pytest.mark.parametrize("shape", [(1, 1), (2, 700), (700, 2), (17, 15), (16, 16), (3000, 40)])
def test_any_shape_is_measured(domain: Domain, shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    assert np.isfinite(measures(image)).all()
    assert np.isfinite(domain.photo_score(image))


def test_a_broken_domain_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "domain.json").write_text('{"mean": [1]}', encoding="utf-8")
    with pytest.raises(SegmenterError, match=r"domain\.json holds no domain"):
        Domain.read(tmp_path / "domain.json")


@pytest.mark.parametrize("effort", EFFORTS)
def test_a_photo_is_unable_before_any_model_is_asked(tiny: Sam3Segmenter, effort: str) -> None:
    planner, encoded = CountingPlanner(), tiny.encoded
    answer = Agent(planner, tiny, effort=effort).ask(landscape(), "red cars")
    assert (answer.status, len(answer.masks), answer.numbers) == ("unable", 0, ())
    assert (planner.asked, answer.usage.turns, tiny.encoded) == (0, 0, encoded)
    places = [answer.text.index(way) for way in WAYS_ON]
    assert places == sorted(places), "open weights come first"
    assert answer.to_dict()["status"] == "unable"
    assert answer.messages[-1].text == answer.text


def test_streams_chats_and_async_callers_are_told_the_same(tiny: Sam3Segmenter) -> None:
    agent, photo = Agent("offline", tiny), landscape()
    (finished,) = agent.stream(photo, "is there a dog?")
    chat = agent.chat(photo)
    answers = [
        finished.answer,  # type: ignore[union-attr]
        asyncio.run(agent.aask(photo, "is there a dog?")),
        chat.ask("is there a dog?"),
        chat.ask("and a cat?"),
    ]
    assert {(one.status, "looks like a photo" in one.text) for one in answers} == {("unable", True)}
    assert len(chat.answers) == 2


def test_who_insists_gets_an_answer(tiny: Sam3Segmenter) -> None:
    planner = ScriptedPlanner([calling(("answer", {"text": "A hill.", "numbers": []}))])
    answer = Agent(planner, tiny, check_domain=False).ask(landscape(), "what is it?")
    assert (answer.status, answer.text) == ("no_target", "A hill.")


def test_a_segmenter_without_a_domain_knows_every_image(tiny: Sam3Segmenter) -> None:
    placed = FakeSegmenter({"hill": [(10, 20, 60, 70)]})
    assert outside_domain(placed, landscape()) is None
    assert outside_domain(tiny, landscape()) is not None
    planner = ScriptedPlanner(
        [
            calling(("segment", {"phrases": ["hill"]})),
            calling(("answer", {"text": "A hill.", "numbers": [1]})),
        ]
    )
    assert Agent(planner, placed, verifier="none").ask(landscape(), "hill").status == "answered"


@pytest.mark.parametrize("command", ["ask", "segment"])
def test_the_commands_say_unable_and_end_well(photo_file: str, command: str) -> None:
    out = run_json(command, photo_file, "the dog")
    assert (out["status"], out["instances"]) == ("unable", [])
    assert out["text"].index("open:tiny") < out["text"].index("facebook/sam3")
    insisted = run_json(command, photo_file, "the dog", "--any-image")
    assert insisted["status"] in ("answered", "no_target")
    assert run_json(command, RED_CARS, "red car")["status"] == "answered"


def test_doctor_says_what_tiny_knows() -> None:
    checks = {one["what"]: one["said"] for one in run_json("doctor")["checks"]}
    assert "26 nouns" in checks["domain"]
    assert "open:tiny" in checks["domain"]


def test_a_recorded_unable_is_replayed(photo_file: str, tmp_path: Path) -> None:
    folder = str(tmp_path / "kept")
    first = run_json("ask", photo_file, "the dog", "--record", folder)
    assert first["status"] == run_json("replay", folder)["status"] == "unable"


def test_the_plugins_tools_give_no_masks_of_a_photo(tiny: Sam3Segmenter) -> None:
    toolkit = plugin.Toolkit.of(Agent("offline", tiny))
    pictures = {"photo": landscape()}

    def run(name: str, **arguments: Any) -> plugin.ToolResult:
        return plugin.call(name, {"image": "photo", **arguments}, pictures, toolkit)

    for result in (
        run("ask_image", query="the leftmost dog"),
        run("segment", phrases=["dog"]),
        run("refine", like=[[10, 10, 40, 40]]),
    ):
        assert (result.status, result.masks) == ("unable", ())
        assert "open:tiny" in result.text
    assert run("look", region=[0, 0, 50, 50]).status == "done"


def test_the_servers_say_unable(tiny: Sam3Segmenter) -> None:
    testclient = pytest.importorskip("starlette.testclient")
    from sam3_agent.plugin import rest
    from sam3_agent.plugin.middleware import AccessRules
    from sam3_agent.plugin.work_queue import WorkQueue

    buffer = io.BytesIO()
    Image.fromarray(landscape()).save(buffer, "PNG")
    uri = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    app = rest.app(plugin.Toolkit.of(Agent("offline", tiny)), WorkQueue(), AccessRules(hosts=None))
    with testclient.TestClient(app) as client:
        for path, body in (("/ask", {"query": "the dog"}), ("/segment", {"phrases": ["dog"]})):
            reply = client.post(path, json={"image": uri, **body})
            assert reply.status_code == 200
            assert (reply.json()["status"], reply.json()["masks"]) == ("unable", [])
        schema = client.get("/openapi.json").json()
    assert '"unable"' in json.dumps(schema)


@pytest.mark.parametrize("name", ["agent", "oracle", "segmenter"])
def test_in_an_eval_a_photo_is_a_row_with_nothing(tiny: Sam3Segmenter, name: str) -> None:
    solver = make_solver(name, load_offline(), tiny)
    outcome = solver.solve(landscape(), Sample("s", "the dog", landscape, None))
    assert (outcome.status, len(outcome.pred), len(outcome.found)) == ("unable", 0, 0)
    scene = load_image(RED_CARS)
    assert solver.solve(scene, Sample("s", "red cars", lambda: scene, None)).status == "answered"


def load_offline() -> Any:
    from sam3_agent import registry

    return registry.planner("offline")


def test_a_domain_can_be_fitted_to_other_photos() -> None:
    pictures = [(f"{seed}.jpg", measures(landscape(seed))) for seed in range(40)]
    names = np.array([name for name, _ in pictures])
    photo = Measured(np.stack([one for _, one in pictures]), names, names, names)
    scene = scenes(24, first_seed=900)
    photo_scores, scene_scores = cross_validated(photo, scene)
    assert (photo_scores > scene_scores.max()).mean() > 0.9
    again = scores(photo.values, fitted(photo.values, scene.values))
    assert (again > 0).all()

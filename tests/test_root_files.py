"""Paths from untrusted callers: answers for what lies outside of a root do not depend on it."""

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sam3_agent import Agent, ImageError
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.scripted_planner import ScriptedPlanner
from sam3_agent.plugin import ImageLoader, Toolkit
from tests.plugin_fixtures import assert_discloses_nothing, png, rest_client

NONE = "there is no such picture in the folders that may be read"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root beside files, folders and a pipe that must not be found out about."""
    root = tmp_path / "root"
    (root / "inner" / "deep").mkdir(parents=True)
    for place in ("good.png", "inner/good.png", "inner/deep/good.png"):
        (root / place).write_bytes(png())
    (tmp_path / "file").write_bytes(png())
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.png").write_bytes(png())
    (tmp_path / "closed").mkdir(mode=0)
    (tmp_path / "link").symlink_to(root)
    os.mkfifo(tmp_path / "pipe")
    return root


def answer(root: Path, source: str) -> str:
    """ "read", or why not."""
    try:
        ImageLoader((root,)).read(source)
    except ImageError as error:
        return str(error)
    return "read"


OUTSIDE = ("file", "none", "folder", "closed", "pipe", "link", "folder/a.png", "folder/none")
"""What lies beside the root, some of it, and what does not."""

WAYS: dict[str, Callable[[Path, str], str]] = {
    "there": lambda root, one: f"../{one}",
    "there, absolute": lambda root, one: str(root.parent / one),
    "there, by a URL": lambda root, one: f"file://{root.parent / one}",
    "there, by an encoded URL": lambda root, one: f"file:///{'/'.join(['%2e%2e'] * 20)}/{one}",
    "there, with a slash": lambda root, one: f"../{one}/",
    "through it and back": lambda root, one: f"../{one}/../../{root.name}/good.png".replace(
        "/a.png/", "/a.png/../"
    ),
    "through it and back, absolute": lambda root, one: (
        f"{root.parent}/{one}{'/..' * (1 + one.count('/'))}/{root.name}/good.png"
    ),
    "through it and back from inside": lambda root, one: (
        f"{root}/inner/../../{one}{'/..' * (1 + one.count('/'))}/{root.name}/good.png"
    ),
    "through it and back by a URL": lambda root, one: (
        f"file://localhost{root}/../{one}{'/..' * (1 + one.count('/'))}/{root.name}/good.png"
    ),
    "far up and down": lambda root, one: "../" * 60 + str(root.parent / one).lstrip("/"),
    "by the process": lambda root, one: f"/proc/self/root{root.parent / one}",
    "by the working folder": lambda root, one: f"/proc/self/cwd/{one}",
}


@pytest.mark.parametrize("way", WAYS)
def test_the_answer_for_a_path_that_leads_outside_does_not_depend_on_what_is_there(
    root: Path, way: str
) -> None:
    assert {answer(root, WAYS[way](root, one)) for one in OUTSIDE} == {NONE}


@pytest.mark.parametrize("one", OUTSIDE)
def test_a_link_to_the_outside_is_refused_whether_its_target_is_there_or_not(
    root: Path, one: str
) -> None:
    (root / "relative").symlink_to(f"../{one}")
    (root / "absolute").symlink_to(root.parent / one)
    (root / "inner" / "far").symlink_to(f"deep/../../../{one}")
    for source in (
        "relative",
        "absolute",
        "inner/far",
        "relative/",
        "absolute/a.png",
        "inner/far/a",
    ):
        assert answer(root, source) == NONE


MACHINE = (
    *("/dev/zero", "/dev/stdin", "/dev/fd/0", "/proc/self/environ", "/proc/self/mem", "/sys/power"),
    *(
        "/etc/shadow",
        "/root/.ssh/id_rsa",
        "~root/a.png",
        "~nobody-of-that-name/a.png",
        "~/../a.png",
    ),
    *("//server/share/a.png", "\\\\server\\share\\a.png", "..\\file", "c\\..\\..\\file", "NUL"),
    *("..%2ffile", "%2e%2e/file", "..;/file", "\u2025/file", "\uff0e\uff0e/file", "..\u2215file"),
    *("good.png\0", "good\n.png", "good.png/..", "a" * 300, "a/" * 3000, "./" * 2000 + "../file"),
    *("\udc2e\udc2e/file", "../" * 2000 + "etc/passwd", ".../file", " ../file", "../file#good.png"),
    *("file:../file", "file:/../file", "file:////etc/passwd", "file:///root%2f..%2ffile"),
    *("file://localhost/../file?good.png", "FILE:///etc/passwd", "file:%2e%2e/file", "file:"),
)


@pytest.mark.parametrize("source", MACHINE)
def test_a_place_of_the_machine_is_neither_read_nor_found_out_about(
    root: Path, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root.parent)
    refused = answer(root, source)
    assert refused.startswith(NONE)
    assert_discloses_nothing(refused)


@pytest.mark.parametrize(
    "source", ["file://server/a.png", "file://127.0.0.1/etc/passwd", "file://[::1]/a", "file://[x"]
)
def test_a_file_url_of_another_host_asks_no_host(root: Path, source: str) -> None:
    refused = answer(root, source)
    assert "has three slashes" in refused or "is no proper URL" in refused


def test_outside_and_inside_nothing_is_opened_before_a_path_is_judged(root: Path) -> None:
    """As far as time can tell: a folder of many files, a missing one and the root's parent."""
    for number in range(3_000):
        (root.parent / "folder" / f"{number}").touch()
    loader = ImageLoader((root,))

    def seconds(source: str) -> float:
        taken = []
        for _ in range(150):
            began = time.perf_counter()
            with pytest.raises(ImageError):
                loader.read(source)
            taken.append(time.perf_counter() - began)
        return statistics.median(taken)

    times = [seconds(f"../{one}/../x/../../root/good.png") for one in ("file", "none", "folder")]
    assert max(times) < 3 * min(times)


def test_paths_and_links_inside_are_read(root: Path) -> None:
    (root / "a.png").symlink_to("good.png")
    (root / "inner" / "b.png").symlink_to("../good.png")
    (root / "c.png").symlink_to(root / "inner" / "good.png")
    (root / "d").symlink_to("inner/deep")
    (root / "inner" / "deep" / "e.png").symlink_to("../../d/../good.png")
    (root / "f.png").symlink_to("../root/good.png")  # out and back, by its text
    (root / "inner" / "g.png").symlink_to(f"{root}/../root/good.png")
    for source in (
        *("a.png", "inner/b.png", "c.png", "d/good.png", "d/e.png", "f.png", "inner/g.png"),
        *("./good.png", "inner/../good.png", "inner/./deep//good.png", "none/../good.png"),
        *(str(root / "good.png"), (root / "good.png").as_uri(), "file:good.png"),
    ):
        assert answer(root, source) == "read", source


def test_a_root_that_is_a_link_is_read_under_both_its_names(root: Path) -> None:
    link = root.parent / "link"
    for source in ("good.png", str(link / "good.png"), str(root / "good.png")):
        assert answer(link, source) == "read"
    assert answer(link, str(root.parent / "file")) == NONE


def test_a_root_given_relative_to_the_working_folder_is_read(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root.parent)
    assert answer(Path("root"), "good.png") == "read"
    assert answer(Path("root"), "root/good.png") == NONE  # not relative to the working folder
    assert answer(Path("root"), "file") == NONE


def test_what_is_inside_and_no_picture_gets_the_reason(root: Path) -> None:
    (root / "one").symlink_to("two")
    (root / "two").symlink_to("one")
    os.mkfifo(root / "pipe")
    assert answer(root, "none.png") == answer(root, "good.png/a") == NONE
    assert answer(root, "one") == answer(root, "pipe") == NONE
    assert answer(root, "inner") == answer(root, ".") == f"{NONE}: it is a folder"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_the_server_may_not_read_gets_that_reason(root: Path) -> None:
    (root / "good.png").chmod(0)
    assert answer(root, "good.png") == f"{NONE}: the server is not allowed to read it"


async def test_the_oracle_is_closed_over_rest(root: Path, segmenter: FakeSegmenter) -> None:
    toolkit = Toolkit.of(Agent(ScriptedPlanner([]), segmenter), loader=ImageLoader((root,)))
    async with rest_client(toolkit) as client:
        answers = [
            await client.post("/images", json={"image": f"../{one}/../../root/good.png"})
            for one in ("file", "none", "folder", "pipe")
        ]
        assert {(one.status_code, one.text) for one in answers} == {
            (422, f'{{"error":{{"kind":"input","message":"{NONE}"}}}}')
        }

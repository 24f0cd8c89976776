"""ServerLimits: one value from which queue, loader and access rules of a server are made."""

from pathlib import Path

import pytest

from sam3_agent.errors import ImageError, InputError
from sam3_agent.plugin.limits import ServerLimits
from tests.plugin_fixtures import data_uri, png


def test_queue_loader_and_rules_keep_the_limits_given(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    limits = ServerLimits(
        workers=3, waiting=4, seconds=20, memory_megabytes=5, megabytes=0.001, megapixels=0.01
    )
    queue = limits.work_queue()
    assert (queue.workers, queue.waiting, queue.seconds) == (3, 4, 20)
    queue.close()
    assert (limits.ask_seconds, limits.memory_bytes) == (18, 5e6)
    loader = limits.image_loader([tmp_path], urls=False)
    with pytest.raises(ImageError, match=r"the limit is 0\.01"):
        loader.read("a.png")
    with pytest.raises(ImageError, match=r"larger than 0\.001 MB"):
        loader.read(data_uri(bytes(2000)))
    with pytest.raises(ImageError, match="URLs are not fetched here"):
        loader.read("https://example.com/a.png")
    # an image of the largest size fits into a body as a data URI
    assert limits.rules("127.0.0.1").max_bytes > len(data_uri(bytes(limits.image_bytes)))


def test_a_server_on_loopback_answers_to_known_host_names_only() -> None:
    limits = ServerLimits()
    local = frozenset({"127.0.0.1", "localhost", "::1"})
    assert limits.rules("127.0.0.1").hosts == local
    assert limits.rules("localhost", hosts=["photos.lan"]).hosts == local | {"photos.lan"}
    assert limits.rules("0.0.0.0").hosts is None
    assert limits.rules("0.0.0.0", hosts=["photos.lan"]).hosts == local | {"photos.lan"}
    assert limits.rules("0.0.0.0", token="t-1").token == "t-1"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("workers", 0),
        ("waiting", -1),
        ("seconds", 0.5),
        ("memory_megabytes", 0.0),
        ("megabytes", 0.0),
        ("megapixels", 0.0),
        ("seconds", float("nan")),
        ("seconds", float("inf")),
        ("megabytes", float("inf")),
    ],
)
def test_a_limit_that_is_too_small_or_endless_is_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(InputError, match=f"{name} must be a number of at least"):
        ServerLimits(**{name: value})  # type: ignore[arg-type]


def test_a_root_must_be_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no folder"):
        ServerLimits().image_loader([tmp_path / "none"])

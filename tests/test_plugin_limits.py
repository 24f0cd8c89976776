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


LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"])
def test_a_server_on_loopback_answers_to_known_host_names_only(address: str) -> None:
    limits = ServerLimits()
    assert limits.rules(address).hosts == LOCAL
    assert limits.rules(address, hosts=["Photos.LAN."]).hosts == LOCAL | {"photos.lan"}


@pytest.mark.parametrize(
    "address", ["0.0.0.0", "::", "192.0.2.7", "2001:db8::1", "::ffff:10.0.0.1"]
)
def test_beyond_loopback_a_token_or_a_host_name_is_needed(address: str) -> None:
    limits = ServerLimits()
    with pytest.raises(InputError, match=r"--token TOKEN .* or --host NAME"):
        limits.rules(address)
    assert limits.rules(address, hosts=["photos.lan"]).hosts == LOCAL | {"photos.lan"}
    with_token = limits.rules(address, token="t-1")
    assert (with_token.token, with_token.hosts) == ("t-1", None)


@pytest.mark.parametrize("name", ["", "photos lan", "https://photos.lan", "a@photos.lan", "a/b"])
def test_a_host_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="is no host name"):
        ServerLimits().rules("127.0.0.1", hosts=[name])


@pytest.mark.parametrize("origin", ["*", "null", "example.com", "ftp://example.com", "https://a/b"])
def test_an_origin_that_is_none_is_refused(origin: str) -> None:
    with pytest.raises(InputError, match="is no origin, such as"):
        ServerLimits().rules("127.0.0.1", origins=["https://example.com", origin])


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

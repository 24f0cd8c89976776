"""Damaged run files: one clear line with file and place, exit code 2, and nothing lost."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sam3_agent.errors import InputError
from sam3_agent.evals.results_file import FILE_NAME, MAX_LINE, RunFile, read_run
from sam3_agent.evals.row_record import row_from_dict
from sam3_agent.rle import encode_mask
from tests.benchmark_folders import square
from tests.command_line import ROOT, run
from tests.test_report import run_of_scenes

Lines = list[bytes]
Change = Callable[[Lines], Lines]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Lines:
    """The lines of a run: the header, and the rows 0 to 3."""
    folder = tmp_path_factory.mktemp("whole")
    run_of_scenes(folder, "agent", 4)
    return (folder / FILE_NAME).read_bytes().splitlines(keepends=True)


def header(**values: Any) -> Change:
    """Changes values of the header."""
    return lambda lines: [dumped(json.loads(lines[0]) | values), *lines[1:]]


def config(**values: Any) -> Change:
    """Changes values of the config."""

    def change(lines: Lines) -> Lines:
        first = json.loads(lines[0])
        return [dumped(first | {"config": first["config"] | values}), *lines[1:]]

    return change


def row(**values: Any) -> Change:
    """Changes values of the row in the third line."""
    return lambda lines: [*lines[:2], dumped(json.loads(lines[2]) | values), *lines[3:]]


def without(*names: str) -> Change:
    def change(lines: Lines) -> Lines:
        values = json.loads(lines[2])
        return [
            *lines[:2],
            dumped({name: one for name, one in values.items() if name not in names}),
            *lines[3:],
        ]

    return change


def masks(name: str, **values: Any) -> Change:
    """Changes columns of a row's masks to those of one mask, and then to `values`."""
    counts = encode_mask(square((480, 640)))["counts"].decode()
    one = {"size": [480, 640], "boxes": [[4, 4, 16, 16]], "scores": [1.0], "phrases": ["a"]}
    return row(**{name: one | {"counts": [counts]} | values})


def third(change: Callable[[bytes], bytes]) -> Change:
    return lambda lines: [*lines[:2], change(lines[2]), *lines[3:]]


def dumped(value: Any) -> bytes:
    return json.dumps(value).encode() + b"\n"


DAMAGED: dict[str, tuple[Change, str]] = {
    "a line cut in the middle": (third(lambda line: line[:99] + b"\n"), "line 3: is no line of a"),
    "two lines in one": (third(lambda line: line[:99]), "line 3: is no line of a run"),
    "NUL bytes in a line": (third(lambda line: line[:50] + b"\0" * 9 + line[59:]), "line 3"),
    "a line of NUL bytes": (third(lambda _: b"\0" * 4096 + b"\n"), "line 3: is no line of a run"),
    "not UTF-8": (third(lambda line: line.replace(b'"query"', b'"qu\xe9ry"')), "line 3: .* no UTF"),
    "UTF-16": (lambda lines: [b"".join(lines).decode().encode("utf-16")], "line 1"),
    "an empty line": (third(lambda _: b"\n"), "line 3: is no line of a run"),
    "no object": (third(lambda _: b"[1,2]\n"), "line 3: .* no object of the kind"),
    "another kind": (row(kind="note"), "line 3: .* no object of the kind"),
    "a header in the middle": (lambda lines: [*lines, *lines], "line 6: .* header of a second run"),
    "no header": (lambda lines: lines[1:], "is no run of sam3-agent eval"),
    "another format": (header(format="other"), "is no run of sam3-agent eval"),
    "a later version": (header(version=2), "is a run of format 2"),
    "a version as text": (header(version="1"), "is a run of format 1"),
    "a total as text": (header(total="4"), "line 1: is broken: total"),
    "a total below 0": (header(total=-4), "line 1: is broken: total"),
    "a total with a part": (header(total=4.5), "line 1: is broken: total"),
    "samples as a number": (header(samples=7), "line 1: is broken: samples"),
    "config as a list": (header(config=[]), "line 1: is broken: config"),
    "versions as a list": (header(versions=["a"]), "line 1: is broken: versions"),
    "nested 1e5 times": (third(lambda _: b'{"kind":' * 100_000 + b"\n"), "line 3"),
    "lists 1e5 deep": (
        third(lambda _: b'{"kind":"row","id":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n"),
        "line 3: .* nested too deeply",
    ),
    "NaN": (third(lambda line: line.replace(b'"index":1', b'"index":NaN')), "line 3: .* NaN"),
    "NaN in the last line": (
        lambda lines: [*lines[:-1], lines[-1].replace(b'"index":3', b'"index":NaN')],
        "line 5: .* NaN",
    ),
    "Infinity": (third(lambda line: line.replace(b'"index":1', b'"index":Infinity')), "line 3"),
    "a number of 5000 digits": (
        third(lambda line: line.replace(b'"index":1', b'"index":' + b"1" * 5000)),
        "line 3: .* number that cannot be read",
    ),
    "an index as text": (row(index="1"), "line 3: is broken: index"),
    "an index with a part": (row(index=1.5), "line 3: is broken: index"),
    "an index below 0": (row(index=-1), "line 3: is broken: index"),
    "an index beyond the run": (row(index=10**12), "its row 1000000000000 "),
    "an index of another row": (row(index=2), "line 4: is broken: row 2 is there with another id"),
    "an index that is free": (lambda lines: row(index=3)(lines)[:-1], "its row 3 .* id, .* differ"),
    "an id as a number": (row(id=7), "line 3: is broken: id"),
    "a query null": (row(query=None), "line 3: is broken: query"),
    "a status unknown": (row(status="fine"), "line 3: is broken: status"),
    "tags of numbers": (row(tags={"kind": 3}), "line 3: is broken: tags"),
    "about as text": (row(about="x"), "line 3: is broken: about"),
    "usage null": (row(usage=None), "line 3: is broken: usage"),
    "a cost as text": (row(usage={"cost": "free"}), "line 3: is broken: usage: .* cost is str"),
    "seconds beyond all": (row(usage={"seconds": 1e300}), "line 3: is broken: usage"),
    "turns as a list": (row(usage={"turns": [3]}), "line 3: is broken: usage"),
    "a cost of 400 digits": (row(usage={"calls": 10**400}), "line 3: is broken: usage"),
    "messages as text": (row(messages="x"), "line 3: is broken: messages"),
    "messages of texts": (row(messages=["x"]), "line 3: is broken: messages"),
    "a repeat of 0": (row(repeat=0), "line 3: is broken: repeat"),
    "an earlier cost below 0": (row(earlier_cost=-1.0), "line 3: is broken: earlier_cost"),
    "no pred": (without("pred"), "line 3: is broken: pred"),
    "no id": (without("id"), "line 3: is broken: id"),
    "pred null": (row(pred=None), "line 3: is broken: pred"),
    "pred as text": (row(pred="x"), "line 3: is broken: pred: its masks are str"),
    "counts x": (masks("pred", counts=["x"]), "line 3: is broken: pred: .* mask 1: .* decoded"),
    "counts of 1e5 o": (masks("found", counts=["o" * 100_000]), "line 3: .*: found: .*mask 1"),
    "counts empty": (masks("truth", counts=[""]), "line 3: is broken: truth: .* mask 1"),
    "counts as a number": (masks("pred", counts=[7]), 'line 3: is broken: pred: .* no "counts"'),
    "counts of another size": (
        masks("pred", counts=[encode_mask(square((10, 10)))["counts"].decode()]),
        "line 3: is broken: pred: .*its runs are 100 pixels",
    ),
    "size 0x0": (masks("pred", size=[0, 0]), "line 3: is broken: pred: .*not in 1"),
    "size 10x10": (masks("pred", size=[10, 10]), "line 3: is broken: pred: .*not in 0..100"),
    "size 1e8x1e8": (masks("pred", size=[10**8, 10**8]), "line 3: is broken: pred: .* at most"),
    "too many masks": (masks("pred", counts=["x"] * 10_001), "line 3: .* at most 10000 are read"),
    "no masks of size 1e6x1e6": (
        masks("pred", size=[10**6, 10**6], boxes=[], scores=[], phrases=[], counts=[]),
        "line 3: is broken: pred: .* at most",
    ),
    "another size than the others": (
        masks("pred", size=[9, 9], boxes=[], scores=[], phrases=[], counts=[]),
        "line 3: is broken: its masks are of different sizes",
    ),
    "a box NaN as text": (masks("pred", boxes=[["NaN", 0, 1, 1]]), "line 3: .* no numbers"),
    "a score beyond all": (masks("pred", scores=[1e300]), "line 3: is broken: pred: .* finite"),
    "fewer scores than masks": (masks("pred", scores=[]), "line 3: is broken: pred: .* differ"),
    "an ignore x": (row(ignore={"size": [480, 640], "counts": "x"}), "line 3: is broken: .* RLE"),
    "an ignore of another size": (row(ignore={"size": [2, 2], "counts": "4"}), "different sizes"),
    "a row of another benchmark": (row(id="soup", about={"image": "x"}), "not of the sample"),
    "another about": (row(about={"count": 77}), "its row 1 .* about differ"),
    "about of lists": (row(about={"image": [["x"]]}), "its row 1 .* about differ"),
    "another truth": (masks("truth"), "its row 1 .* truth differ"),
    "config without a benchmark": (config(benchmark=None), "config is broken: benchmark"),
    "config with a limit of 0": (config(limit=0), "config is broken: limit"),
    "config with data as a number": (config(data=3), "config is broken: data"),
    "config with options as a list": (config(options=[1]), "config is broken: options"),
    "config with an option unknown": (config(options={"depth": 3}), "depth"),
    "config with a name as option": (config(options={"name": "x"}), "name"),
    "config with a seed as text": (config(options={"seed": "x"}), "config is broken: options.seed"),
    "config with 1e9 scenes": (config(options={"limit": 10**9}), "config is broken: options.limit"),
    "config with a style of lists": (config(options={"style": []}), "options.style"),
    "config with a benchmark unknown": (config(benchmark="scnes"), "scnes"),
    "config with a shard 0/0": (config(shard="0/0"), "config is broken: shard"),
    "config with a shard 9/4": (config(shard="9/4"), "no shard 9/4"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_run_is_one_line_with_file_and_place(
    tmp_path: Path, whole: Lines, name: str
) -> None:
    change, message = DAMAGED[name]
    path = tmp_path / FILE_NAME
    path.write_bytes(damaged := b"".join(change(list(whole))))
    done = run("report", tmp_path, "--cases", 0)
    assert done.exit_code == 2, (done.exception, done.stdout)
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert_matches(message, line)
    assert str(path) in line
    assert len(line) < 2000
    assert path.read_bytes() == damaged
    for number in (1, 2):
        merged = run("merge", tmp_path / f"merged{number}", *[tmp_path] * number)
        assert merged.exit_code in (0, 2), merged.exception


def assert_matches(message: str, line: str) -> None:
    assert re.search(message, line), line


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"role": 3, "text": ["x"], "tool_calls": 7, "pictures": "x"},
        {"role": None, "tool_calls": [3, {"name": "a"}], "pictures": [[], {"width": "w"}]},
        {"tool_calls": {"name": "a"}, "pictures": None},
    ],
    ids=str,
)
def test_a_page_shows_messages_of_any_form(
    tmp_path: Path, whole: Lines, message: dict[str, Any]
) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"".join(row(messages=[message])(list(whole))))
    done = run("report", tmp_path, "--cases", 4)
    assert done.exit_code == 0, done.exception


@pytest.mark.parametrize("name", [n for n, (_, m) in DAMAGED.items() if m.startswith("line 3")])
def test_a_damaged_run_is_not_resumed_and_stays_as_it_is(
    tmp_path: Path, whole: Lines, name: str
) -> None:
    change, message = DAMAGED[name]
    path = tmp_path / FILE_NAME
    path.write_bytes(b"".join(whole))
    first = read_run(path).header
    path.write_bytes(damaged := b"".join(change(list(whole))))
    with pytest.raises(InputError, match=message):
        RunFile(tmp_path, first, resume=True)
    assert path.read_bytes() == damaged


KEPT: dict[str, tuple[Change, int]] = {
    "nothing": (lambda lines: lines, 4),
    "a last line that is cut": (lambda lines: [*lines[:-1], lines[-1][:99]], 3),
    "a last line without its end": (lambda lines: [*lines[:-1], lines[-1][:-1]], 3),
    "NUL bytes at the end": (lambda lines: [*lines, b"\0" * 4096], 4),
    "any bytes at the end": (lambda lines: [*lines, b"\xff\x00{\n"], 4),
    "lines that end as on Windows": (
        lambda lines: [line.replace(b"\n", b"\r\n") for line in lines],
        4,
    ),
    "a byte order mark": (lambda lines: [b"\xef\xbb\xbf" + lines[0], *lines[1:]], 4),
    "a row that is there twice": (lambda lines: [*lines, lines[2]], 4),
    "rows in another order": (lambda lines: [lines[0], *lines[:0:-1]], 4),
}


@pytest.mark.parametrize("name", KEPT)
def test_whole_rows_are_kept_and_a_run_goes_on_after_them(
    tmp_path: Path, whole: Lines, name: str
) -> None:
    change, count = KEPT[name]
    path = tmp_path / FILE_NAME
    path.write_bytes(b"".join(change(list(whole))))
    read = read_run(path)
    assert len(read.rows) == count
    assert run("report", tmp_path, "--cases", 0).exit_code == 0
    with RunFile(tmp_path, read.header, resume=True) as file:
        assert file.rows.keys() == read.rows.keys()
        file.append(*row_from_dict(json.loads(whole[-1])))
    assert read_run(path).rows.keys() == {0, 1, 2, 3}


def test_a_line_without_end_is_not_read_whole(tmp_path: Path, whole: Lines) -> None:
    path = tmp_path / FILE_NAME
    with path.open("wb") as file:
        file.write(whole[0] + b'{"kind":"row","id":"')
        file.truncate(10 * MAX_LINE)  # a gigabyte that takes no room on disk
    assert_refused(tmp_path, "line 2: is longer than")


def assert_refused(folder: Path, message: str) -> None:
    done = run("report", folder, "--cases", 0)
    assert done.exit_code == 2, done.exception
    assert message in done.stderr


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / FILE_NAME)
    assert_refused(tmp_path, "no regular file")
    assert run("eval", "scenes", "--limit", 1, "--out", tmp_path).exit_code == 2
    (tmp_path / "folder" / FILE_NAME).mkdir(parents=True)
    assert_refused(tmp_path / "folder", "a folder")
    assert_refused(Path("/dev/zero"), "no regular file")


def test_a_file_that_is_no_run_is_not_written_over(tmp_path: Path, whole: Lines) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"my own notes")
    with pytest.raises(InputError, match="is no run"):
        RunFile(tmp_path, header_of(whole))
    assert (tmp_path / FILE_NAME).read_bytes() == b"my own notes"


def header_of(whole: Lines) -> Any:
    from sam3_agent.evals.run_header import Header

    return Header.model_validate(json.loads(whole[0]))


def test_a_run_file_cannot_name_code_that_a_report_calls(tmp_path: Path, whole: Lines) -> None:
    written = tmp_path / "written"
    options = {"input": f"echo run > {written}", "text": True}
    change = config(benchmark="subprocess:run", options=options, data="/bin/sh")
    (tmp_path / FILE_NAME).write_bytes(b"".join(change(list(whole))))
    done = run("report", tmp_path)
    assert done.exit_code == 2
    assert "--benchmark subprocess:run" in done.stderr.replace("\n", " ")
    assert not written.exists()
    other = run("report", tmp_path, "--benchmark", "os:system")
    assert other.exit_code == 2


def test_of_two_writers_the_second_is_refused_at_once(tmp_path: Path, whole: Lines) -> None:
    first = header_of(whole)
    with RunFile(tmp_path, first) as file:
        before = (tmp_path / FILE_NAME).read_bytes()
        for resume in (False, True):
            with pytest.raises(InputError, match="being written by another process"):
                RunFile(tmp_path, first, resume=resume)
        assert (tmp_path / FILE_NAME).read_bytes() == before
        file.finish()
    RunFile(tmp_path, first, resume=True).__exit__()


FULL = """
import resource, signal, sys
from pathlib import Path
from sam3_agent.errors import InputError
from sam3_agent.evals.results_file import RunFile, read_run
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
run = read_run(Path(sys.argv[1]))
limit = int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    with RunFile(Path(sys.argv[2]), run.header) as file:
        for index in sorted(run.rows):
            file.append(index, run.rows[index])
        file.finish()
except InputError as error:
    print(error)
    sys.exit(2)
"""


@pytest.mark.parametrize("lines", [0, 1, 3])
def test_a_full_disk_ends_a_run_with_whole_rows(tmp_path: Path, whole: Lines, lines: int) -> None:
    (tmp_path / "from").mkdir()
    (tmp_path / "from" / FILE_NAME).write_bytes(b"".join(whole))
    room = sum(map(len, whole[: lines + 1])) - 7
    done = subprocess.run(
        [sys.executable, "-c", FULL, tmp_path / "from", tmp_path / "to", str(room)],
        capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "cannot write to" in done.stdout
    assert done.stderr == ""
    path = tmp_path / "to" / FILE_NAME
    kept = path.read_bytes()
    assert kept == b"".join(whole[:lines])
    with RunFile(tmp_path / "to", header_of(whole), resume=True) as file:
        assert len(file.rows) == max(0, lines - 1)


def test_rows_stay_where_the_folder_has_no_room_to_put_them_in_order(
    tmp_path: Path, whole: Lines
) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"".join([whole[0], *whole[:0:-1]]))
    (tmp_path / f"{FILE_NAME}.new").mkdir()  # what is written first cannot be
    with RunFile(tmp_path, header_of(whole), resume=True) as file:
        assert len(file.finish().rows) == 4
    assert len(read_run(tmp_path).rows) == 4

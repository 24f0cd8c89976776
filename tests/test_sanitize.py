"""Texts of models and files reach a terminal, a Markdown table and a page as text alone."""

import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest

from sam3_agent.sanitize import PrintableFormatter, markdown_text, printable
from tests.command_line import run
from tests.test_report import run_of_scenes

HOSTILE = {
    "ANSI colour": "\x1b[31mred\x1b[0m",
    "clear the screen": "\x1b[2J\x1b[H",
    "OSC title": "\x1b]0;title\x07",
    "OSC link": "\x1b]8;;http://x.example\x1b\\click\x1b]8;;\x1b\\",
    "OSC 52 clipboard": "\x1b]52;c;cm0gLXJm\x07",
    "C1 CSI": "\x9b31mred",
    "C1 OSC": "\x9d0;title\x9c",
    "backspace": "safe\x08\x08\x08\x08evil",
    "carriage return": "all is well\rnot at all",
    "bell": "\x07",
    "NUL": "a\0b",
    "DEL": "a\x7fb",
    "right to left override": "\u202egnp.exe",
    "right to left isolate": "\u2067abc\u2069",
    "Arabic letter mark": "a\u061cb",
    "zero width space": "a\u200bb",
    "byte order mark": "a\ufeffb",
    "line separator": "a\u2028b",
    "half a surrogate pair": "a\ud83db",
    "tag letters": "a\U000e0041b",
    "next line": "a\x85b",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_no_code_for_a_terminal_is_printed(text: str) -> None:
    shown = printable(text)
    assert all(one.isprintable() for one in shown), shown
    assert len(shown) == len(text)
    shown.encode("utf-8")


@pytest.mark.parametrize(
    "text",
    [
        "two\nlines\tand a tab",
        "größer, 大きい",
        "\u0645\u06cc\u200c\u062e",
        "👩\u200d🔬",
        "[bold]no[/bold]",
    ],
)
def test_texts_in_any_language_stay_as_they_are(text: str) -> None:
    assert printable(text) == text


MARKUP = [
    "a | b",
    "a\n| b | c |",
    "a\r\n\r\n# heading",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[link](javascript:alert(1))",
    "![picture](http://x.example/a.png)",
    "`code` and ``more",
    "a \\| b",
    "**bold** ~~gone~~",
    "&lt;b&gt;",
    "<!-- hidden",
]


@pytest.mark.parametrize("text", MARKUP, ids=repr)
def test_markdown_shows_a_text_as_it_is(text: str) -> None:
    line = markdown_text(text)
    assert "\n" not in line
    assert not re.search(r"[<>]", line)
    # each mark that means something is escaped, and no escape is escaped away
    assert re.fullmatch(r"(?:[^\\|`*\[\]~#!]|\\[\\|`*\[\]~#!])*", line), line


def hostile_run(folder: Path, text: str) -> None:
    """A run whose file holds a text wherever it can."""
    run_of_scenes(folder, "agent", 4, setup={"planner": {}, "prompts": text})
    path = folder / "run.jsonl"
    header, *rows = (json.loads(line) for line in path.read_text("utf-8").splitlines())
    header["config"] |= {"planner": text, "segmenter": text, "effort": text}
    header |= {"commit": text, "began": text, "versions": {text: text}}
    for row in rows:
        row |= {"text": text, "error": text, "status": "failed"}
        row["messages"] = [{"role": "user", "text": text}]
    path.write_text("".join(json.dumps(line) + "\n" for line in [header, *rows]), encoding="utf-8")


@pytest.mark.parametrize("options", [(), ("--markdown",)])
def test_a_report_prints_no_codes_and_no_markup_of_a_run_file(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    run_of_scenes(tmp_path / "plain", "agent", 4)
    text = "[bold]x[/bold] :bomb: <b>y</b> | z\n| w |\r# v " + "".join(HOSTILE.values())
    hostile_run(tmp_path / "hostile", text)
    plain, hostile = (
        run("report", tmp_path / name, "--cases", 1, *options) for name in ("plain", "hostile")
    )
    assert hostile.exit_code == 0, hostile.stderr
    for out in (hostile.stdout, hostile.stderr):
        assert all(one.isprintable() or one == "\n" for one in out)
    table = hostile.stdout.split("\n\n")[0].splitlines()
    assert len(table) == len(plain.stdout.split("\n\n")[0].splitlines())
    cells = [len(re.findall(r"(?<!\\)\|", line)) for line in table]
    assert len(set(cells)) == 1, table
    assert "<" not in hostile.stdout
    assert r"\[bold\]x\[/bold\] :bomb:" in hostile.stdout


def test_a_page_holds_no_markup_and_no_hidden_marks_of_a_run_file(tmp_path: Path) -> None:
    hostile_run(tmp_path, "<script>alert(1)</script>\" onload='x' " + "".join(HOSTILE.values()))
    assert run("report", tmp_path, "--cases", 1).exit_code == 0
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "<script" not in page
    assert "onload='x'" not in page
    assert "alert(1)" in page
    assert all(one.isprintable() or one in "\n\t" for one in page)


def test_an_error_shows_the_name_of_a_file_as_text(tmp_path: Path) -> None:
    name = "\x1b[31m[bold]:bomb:"
    done = run("report", tmp_path / name)
    assert done.exit_code == 2
    assert "\x1b" not in done.stderr
    assert "[31m[bold]:bomb:" in done.stderr.replace("\n", "")


def test_log_records_are_printed_without_codes() -> None:
    record: Any = logging.LogRecord("x", logging.WARNING, "", 0, "a%sb", ("\x1b[2J",), None)
    assert PrintableFormatter("%(message)s").format(record) == "a\ufffd[2Jb"

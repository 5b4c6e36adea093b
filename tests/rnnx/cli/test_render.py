import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.text import Text

from rnnx.cli.render import PAGE_WIDTH, byte_size, print_json, print_line, print_paragraph, print_table


def test_a_table_in_a_pipe_keeps_whole_rows(capsys: pytest.CaptureFixture[str]) -> None:
    long = "x" * 150
    print_table("title", ("name", ">count"), [("a", 1), (long, 22)], caption="the caption")
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "title"
    assert any(line.strip().startswith(long) and line.endswith("22") for line in lines)
    assert any("a" in line and line.endswith(" 1") for line in lines)
    assert "the caption" in lines


def test_values_that_look_like_markup_stay_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("", ("a", "b"), [("[red]x[/red]", Text("[y]", style="bold"))])
    out = capsys.readouterr().out
    assert "[red]x[/red]" in out
    assert "[y]" in out


@pytest.mark.parametrize("title", ["models/[a]/model.onnx", "[/x].onnx"])
def test_a_title_that_looks_like_markup_stays_as_it_is(title: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_table(title, ("a", "b"), [("1", "2")], caption=title)
    assert capsys.readouterr().out.count(title) == 2


def test_a_table_without_column_names_has_no_header(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("title", ("", ""), [("form", "encoder")])
    assert [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()] == [
        ["title"],
        ["form", "encoder"],
    ]


def test_json_takes_paths_and_nothing_stranger(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"path": Path("a/b"), "sizes": (1, 2)})
    assert json.loads(capsys.readouterr().out) == {"path": "a/b", "sizes": [1, 2]}
    with pytest.raises(TypeError, match="no JSON for object"):
        print_json({"value": object()})


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0.0 KiB"), (1536, "1.5 KiB"), (2**20 - 1, "1024.0 KiB"), (2**20, "1.0 MiB"), (3 * 2**30, "3072.0 MiB")],
)
def test_sizes_are_kib_or_mib(size: int, text: str) -> None:
    assert byte_size(size) == text


def test_a_column_of_words_wraps_so_that_the_table_fits_a_page(capsys: pytest.CaptureFixture[str]) -> None:
    name = "a-name-that-stays-whole"
    print_table("", ("name", ">figure", "~words"), [(name, "1.234567e-08", "word " * 40)])
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert max(map(len, lines)) <= PAGE_WIDTH
    assert sum(line.count("word") for line in lines[3:]) == 40
    assert any(line.split()[:2] == [name, "1.234567e-08"] for line in lines)


def test_a_paragraph_wraps_between_words_and_is_set_in_below_its_label(capsys: pytest.CaptureFixture[str]) -> None:
    path = "/a/path/that/is-longer" * 6
    print_paragraph(f"{'word ' * 30}{path} end\nthe next line", label="note:")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("note: word word")
    assert all(line.startswith("  ") for line in lines[1:])
    assert f"  {path}" in lines
    assert lines[-1] == "  the next line"
    assert all(len(line) <= PAGE_WIDTH for line in lines if path not in line)


def test_a_paragraph_without_a_label_is_a_block(capsys: pytest.CaptureFixture[str]) -> None:
    print_paragraph("word " * 30, indent="  ")
    lines = capsys.readouterr().out.splitlines()
    assert [line[:6] for line in lines] == ["  word"] * 2


HOSTILE = "\x1b]0;owned\x07\u202egnp.exe\ud800\x9b31m\n"


@pytest.mark.parametrize(
    "show",
    [
        lambda text: print_line(text),
        lambda text: print_paragraph(text, label=text, color="red"),
        lambda text: print_table(text, ("name",), [(text,)], caption=text),
        lambda text: print_table("", ("name",), [(Text(text, style="red"),)]),
        lambda text: print_json({text: text}),
    ],
    ids=["line", "paragraph", "table", "styled-cell", "json"],
)
def test_what_a_file_names_cannot_speak_to_the_terminal(
    show: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    show(HOSTILE)
    out = capsys.readouterr().out
    assert "owned" in out
    assert all(character.isprintable() for line in out.split("\n") for character in line)


@pytest.mark.parametrize(
    "show",
    [
        lambda text: print_line(text),
        lambda text: print_paragraph(text),
        lambda text: print_table(text, ("name",), [(text,)]),
    ],
    ids=["line", "paragraph", "table"],
)
def test_a_name_of_a_megabyte_is_cut(show: Callable[[str], None], capsys: pytest.CaptureFixture[str]) -> None:
    show("n" * 2**20)
    out = capsys.readouterr().out
    assert len(out) < 30_000
    assert " ".join(out.split()).count("(1,048,576 characters)") >= 1

import io
import os
import stat
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.rnnx.nodes import make_node

from rnnx.errors import OutputError
from rnnx.reports.outputs import Target, opened_outputs

KINDS = ("json", "html", "junit")


def write(targets: Mapping[str, Target | None], text: str = "report\n") -> None:
    with opened_outputs(targets) as outputs:
        for output in outputs.values():
            output.write(text)


def refusal(targets: Mapping[str, Target | None], *inputs: Path) -> str:
    with pytest.raises(OutputError) as caught, opened_outputs(targets, inputs):
        raise AssertionError("the work began")
    return str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_device_is_written_through(kind: str, tmp_path: Path) -> None:
    null = make_node(tmp_path / "null")
    before = null.lstat()
    write({kind: null})
    after = null.lstat()
    assert (after.st_ino, after.st_mode, after.st_size) == (before.st_ino, before.st_mode, 0)
    assert list(tmp_path.iterdir()) == [null]


def test_two_reports_may_go_to_one_device(tmp_path: Path) -> None:
    null = make_node(tmp_path / "null")
    write({"json": null, "html": null})
    assert null.is_char_device()


def test_a_full_device_is_an_error(tmp_path: Path) -> None:
    full = make_node(tmp_path / "full", minor=7)
    with pytest.raises(OutputError, match="full: got No space left on device"):
        write({"json": full})


@pytest.mark.parametrize("kind", KINDS)
def test_a_fifo_that_nobody_reads_is_refused_and_not_waited_for(kind: str, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    assert refusal({kind: fifo}) == (
        f"--{kind} {fifo}: got a FIFO that nobody reads, expected something that can be written to; "
        "start its reader first"
    )
    assert fifo.is_fifo()


def test_a_fifos_reader_gets_the_whole_report_and_its_end(tmp_path: Path) -> None:
    fifo, text = tmp_path / "fifo", "x" * 300_000  # more than a pipe holds
    os.mkfifo(fifo)
    found: list[bytes] = []
    with os.fdopen(os.open(fifo, os.O_RDONLY | os.O_NONBLOCK), "rb") as reader:
        os.set_blocking(reader.fileno(), True)
        late = threading.Timer(0.3, lambda: found.append(reader.read()))
        with opened_outputs({"json": fifo}) as outputs:
            late.start()
            outputs["json"].write(text)  # waits for the reader
        late.join(60)
    assert found == [text.encode()]
    assert fifo.is_fifo()


def test_a_reader_that_leaves_is_an_error(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    with opened_outputs({"json": fifo}) as outputs:
        os.close(reader)
        with pytest.raises(OutputError, match="fifo: got Broken pipe"):
            outputs["json"].write("report\n")


@pytest.mark.parametrize("text", ["/dev/fd/{}", "/proc/self/fd/{}", "link"])
def test_an_open_descriptor_is_written_through_where_it_stands(text: str, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("before\n")
    with path.open("a") as file:
        target = Path(text.format(file.fileno()))
        if text == "link":
            target = tmp_path / text
            target.symlink_to(f"/proc/self/fd/{file.fileno()}")
        ino = path.stat().st_ino
        write({"json": target})
        file.write("after\n")
    assert path.read_text() == "before\nreport\nafter\n"
    assert path.stat().st_ino == ino


@pytest.mark.parametrize("number", ["987654", "9" * 30])
def test_a_descriptor_that_is_not_open_is_refused(number: str) -> None:
    assert "got a descriptor that is not open" in refusal({"json": Path(f"/dev/fd/{number}")})


def test_a_descriptor_open_for_reading_is_refused(tmp_path: Path) -> None:
    (tmp_path / "input").write_text("kept")
    with (tmp_path / "input").open() as file:
        message = refusal({"json": Path(f"/dev/fd/{file.fileno()}")})
    assert "got a descriptor open for reading alone" in message


def test_stdout_is_the_stream_that_was_given() -> None:
    stream = io.BytesIO()
    with opened_outputs({"html": "-"}, stdout=stream) as outputs:
        assert outputs["html"].is_stdout
        outputs["html"].write("größer\n")
    assert stream.getvalue() == "größer\n".encode()


def test_a_closed_stdout_is_refused() -> None:
    assert refusal({"json": "-"}) == "--json -: got a closed stdout, expected an open one; name a file"


@pytest.mark.parametrize("other", ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_stdout_holds_one_report(other: str) -> None:
    second: Target = "-" if other == "-" else Path(other)
    targets: Mapping[str, Target | None] = {"json": "-", "html": second}
    refused = pytest.raises(OutputError, match=r"--html .*got the file of another report")
    with refused, opened_outputs(targets, stdout=io.BytesIO()):
        raise AssertionError("the work began")


def test_a_file_may_be_called_dash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write({"json": Path("./-")})
    assert (tmp_path / "-").read_text() == "report\n"


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    real, link = tmp_path / "other" / "real.json", tmp_path / "link.json"
    real.write_text("old")
    link.symlink_to("other/real.json")
    write({"json": link})
    assert link.is_symlink()
    assert real.read_text() == "report\n"
    assert {path.name for path in real.parent.iterdir()} == {"real.json"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing/report", "got no such folder, .*mkdir -p"),
        ("file/report", "got no such folder"),
        ("folder", "got a folder of that name"),
        ("dangling", "got no such folder, .*mkdir -p .*nowhere"),
        ("loop", "got Too many levels of symbolic links"),
        ("n" * 300, "got File name too long"),
        ("socket", "got a socket"),
        ("a\0b", "got a name that no file can have"),
        ("\ud800", "got a name that no file can have"),
        (".", "got a folder"),
        ("/", "got a folder"),
    ],
    ids=["missing", "below-file", "folder", "dangling", "loop", "long", "socket", "nul", "surrogate", "dot", "root"],
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_place_that_cannot_be_written_is_refused_by_its_option_before_the_work(
    kind: str, name: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere" / "report")
    (tmp_path / "loop").symlink_to("loop")
    os.mknod(tmp_path / "socket", stat.S_IFSOCK | 0o600)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(OutputError, match=f"(?s)--{kind} .*: {message}"), opened_outputs({kind: tmp_path / name}):
        raise AssertionError("the work began")
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("as_link", [False, True], ids=["path", "link"])
def test_a_report_never_takes_the_place_of_an_input(as_link: bool, tmp_path: Path) -> None:
    model, target = tmp_path / "model.onnx", tmp_path / "link"
    model.write_bytes(b"model")
    target.symlink_to(model)
    message = refusal({"json": target if as_link else model}, model)
    assert "got a file that is read" in message


def test_bytes_that_are_no_text_do_not_keep_a_report_from_being_utf8(tmp_path: Path) -> None:
    write({"html": tmp_path / "report"}, "\udcff.onnx")
    assert (tmp_path / "report").read_text(encoding="utf-8") == "\\udcff.onnx"

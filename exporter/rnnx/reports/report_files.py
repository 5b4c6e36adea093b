"""The file of an earlier report, read as JSON."""

from pathlib import Path

from rnnx.errors import ReportError
from rnnx.reports.plain_data import LARGEST_REPORT
from rnnx_runtime.files.regular_file import read_regular
from rnnx_runtime.files.strict_json import value_from_json


def report_data(path: Path, subject: str, *, expected: str, remedy: str) -> object:
    """The JSON value in a file.

    Args:
        path: the file.
        subject: what errors call it.
        expected: what it should be, for the error of a file that is no JSON.
        remedy: what to do about one.

    Raises:
        ReportError: it cannot be read, or is no JSON.
    """
    try:
        return value_from_json(read_regular(path, LARGEST_REPORT))
    except OSError as error:
        got = error.strerror or str(error)
        raise ReportError(subject, got=got, expected="a readable file", remedy="check the path") from None
    except ValueError as error:  # text that is no UTF-8 is one too
        raise ReportError(subject, got=f"no JSON ({error})", expected=expected, remedy=remedy) from None

"""Text that came from a file, as a terminal, a log and a page may have it: no control characters, and not endless.

A checkpoint's keys, a graph's names and an exception's words are whatever somebody wrote into a file. Shown as they are
they can move the cursor, set a title, hide what follows or read backwards: https://www.unicode.org/reports/tr36/
"""

import re
import unicodedata

MOST = 1_000
"""Characters of a text that nobody gave another bound."""

_LINE_BREAK = re.compile(r"[\n\r]\s*")


def shown(text: str, most: int = MOST) -> str:
    r"""The text on one line of at most `most` characters: line breaks are spaces, and what does not print is escaped.

    An ESC reads `\x1b` then, a right-to-left override `\u202e`, a lone surrogate `\ud800`. A longer text ends in `…`
    and how long it was. A shown text is shown again as it is.
    """
    if len(text) <= most and text.isprintable():
        return text
    head = escaped(_LINE_BREAK.sub(" ", text[: most + 1].strip("\r\n")))
    if len(text) <= most and len(head) <= most:
        return head
    size = f"… ({len(text):,} characters)"
    return head[: max(0, most - len(size))] + size


def shown_lines(text: str, most: int = MOST) -> str:
    """As `shown`, but that line feeds stay; each line has at most `most` characters."""
    return "\n".join(shown(line, most) for line in text.split("\n"))


def escaped(text: str) -> str:
    """The text with a Python escape for each character that is neither printable nor a space of some width."""
    if text.isprintable():
        return text
    return "".join(own if own.isprintable() or unicodedata.category(own) == "Zs" else _escape(own) for own in text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")

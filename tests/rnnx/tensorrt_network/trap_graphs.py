"""x"""


def f() -> int:
    return 3

import hashlib

import pytest

from rnnx_runtime import FileDamagedError
from rnnx_runtime.files.seal import BLANK, SEAL_KEY, check_seal, is_sealed, seal_offset, sealed


def blank(before: bytes = b"\x08graph", after: bytes = b"tail\xff") -> bytes:
    return before + f'{{"schema": 1, "{SEAL_KEY}": "{BLANK}"}}'.encode() + after


def test_sealed_data_passes() -> None:
    data = sealed(blank())
    assert is_sealed(data)
    check_seal(data, "model.onnx")


def test_sealing_changes_the_blank_alone() -> None:
    data = sealed(blank())
    assert data.count(b"0" * 64) == 0
    assert len(data) == len(b"\x08graph") + len(f'{{"schema": 1, "{SEAL_KEY}": "{BLANK}"}}') + len(b"tail\xff")


def test_a_mark_among_the_weights_does_not_mislead_the_reader() -> None:
    check_seal(sealed(blank(before=f'"{SEAL_KEY}": "'.encode() * 2)), "model.onnx")


def test_the_seal_is_the_sha256_of_the_blank_file() -> None:
    data = sealed(blank())
    start = seal_offset(data)
    assert data[start : start + len(BLANK)] == hashlib.sha256(blank()).hexdigest().encode()


def test_sealing_again_replaces_the_old_seal() -> None:
    changed = sealed(blank()).replace(b"graph", b"other")
    assert sealed(changed) == sealed(blank(before=b"\x08other"))


@pytest.mark.parametrize("bit", [0, 3, 7])
def test_every_flipped_bit_is_noticed(bit: int) -> None:
    data = sealed(blank())
    for place in range(len(data)):
        flipped = bytearray(data)
        flipped[place] ^= 1 << bit
        if is_sealed(bytes(flipped)):
            with pytest.raises(FileDamagedError):
                check_seal(bytes(flipped), "model.onnx")


def test_every_truncation_is_noticed() -> None:
    data = sealed(blank())
    for size in range(len(data)):
        if is_sealed(data[:size]):
            with pytest.raises(FileDamagedError):
                check_seal(data[:size], "model.onnx")


def test_an_appended_byte_is_noticed() -> None:
    with pytest.raises(FileDamagedError):
        check_seal(sealed(blank()) + b"\x00", "model.onnx")


def test_the_message_says_subject_got_expected_and_remedy() -> None:
    with pytest.raises(FileDamagedError) as caught:
        check_seal(sealed(blank()) + b"\x00", "model.onnx")
    message = str(caught.value)
    assert message.startswith("model.onnx: got content with sha256 ")
    assert ", expected the sealed " in message
    assert message.endswith("the file was truncated or changed after export: export it again or copy it anew")

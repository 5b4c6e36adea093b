import hashlib

import pytest

from rnnx_runtime import FileDamagedError
from rnnx_runtime.seal import BLANK, SEAL_KEY, check_seal, is_sealed, seal_offset


def sealed(before: bytes = b"\x08graph", after: bytes = b"tail\xff") -> bytes:
    data = before + f'{{"schema": 1, "{SEAL_KEY}": "{BLANK}"}}'.encode() + after
    start, digest = seal_offset(data), hashlib.sha256(data).hexdigest().encode()
    return data[:start] + digest + data[start + len(digest) :]


def test_sealed_data_passes() -> None:
    data = sealed()
    assert is_sealed(data)
    check_seal(data, "model.onnx")


def test_sealing_changes_the_blank_alone() -> None:
    data = sealed()
    assert data.count(b"0" * 64) == 0
    assert len(data) == len(b"\x08graph") + len(f'{{"schema": 1, "{SEAL_KEY}": "{BLANK}"}}') + len(b"tail\xff")


def test_a_mark_among_the_weights_does_not_mislead_the_reader() -> None:
    check_seal(sealed(before=f'"{SEAL_KEY}": "'.encode() * 2), "model.onnx")


@pytest.mark.parametrize("bit", [0, 3, 7])
def test_every_flipped_bit_is_noticed(bit: int) -> None:
    data = sealed()
    for place in range(len(data)):
        flipped = bytearray(data)
        flipped[place] ^= 1 << bit
        if is_sealed(bytes(flipped)):
            with pytest.raises(FileDamagedError):
                check_seal(bytes(flipped), "model.onnx")


def test_every_truncation_is_noticed() -> None:
    data = sealed()
    for size in range(len(data)):
        if is_sealed(data[:size]):
            with pytest.raises(FileDamagedError):
                check_seal(data[:size], "model.onnx")


def test_an_appended_byte_is_noticed() -> None:
    with pytest.raises(FileDamagedError):
        check_seal(sealed() + b"\x00", "model.onnx")


def test_the_message_says_subject_got_expected_and_remedy() -> None:
    with pytest.raises(FileDamagedError) as caught:
        check_seal(sealed() + b"\x00", "model.onnx")
    message = str(caught.value)
    assert message.startswith("model.onnx: got content with sha256 ")
    assert ", expected the sealed " in message
    assert message.endswith("the file was truncated or changed after export: export it again or copy it anew")

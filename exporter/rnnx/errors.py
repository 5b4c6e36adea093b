"""Every error the toolkit raises on purpose; all are `rnnx_runtime.RnnxError` and end a command with exit code 2.

RnnxError (rnnx_runtime)
├── CheckpointError      a checkpoint is missing, unreadable, unsafe, or not of recurrent layers
│   └── WeightsError     a recurrent layer's tensors contradict each other or hold NaN or Inf
├── FactoryError         the function that was to give the model is missing, fails, or gives none
├── OptionError          an option has a value that this model or this version cannot take
├── ExportError          the model cannot be exported, or its graph was refused by a checker or by ONNX Runtime
│   ├── FrozenDimError   the model fixes a batch or a time at its example's size
│   ├── StreamingError   the model cannot take its sequence in chunks: an operator needs all of it
│   └── UntracedError    torch.export or torch.onnx fails on the model, as it is with so many axes free
├── AdoptionError        a file of another exporter cannot become a model of rnnx
├── EngineError          TensorRT refused or failed to build the engine
├── GoldenError          a golden file is missing, damaged, or of another model
├── ReportError          an earlier report is missing, damaged, of another kind or schema, or another model's
├── BackendError (rnnx_runtime)
│   └── RowDiedError     the process that a backend ran in died, or gave no answer in time
├── OutputError          a result could not be written; nothing was left behind
└── MissingExtraError    an optional package is not installed
    └── BrokenExtraError an optional package is installed and fails when it is imported
"""

from rnnx_runtime.errors import BackendError, RnnxError


class CheckpointError(RnnxError):
    """A checkpoint is missing, unreadable, unsafe, or not of recurrent layers."""


class WeightsError(CheckpointError):
    """A recurrent layer's tensors contradict each other or hold NaN or Inf."""


class FactoryError(RnnxError):
    """The function that was to give the model is missing, fails, or gives none."""


class OptionError(RnnxError):
    """An option has a value that this model or this version cannot take."""


class ExportError(RnnxError):
    """The model cannot be exported, or its graph was refused by a checker or by ONNX Runtime."""


class FrozenDimError(ExportError):
    """The model fixes a batch or a time at its example's size."""


class StreamingError(ExportError):
    """The model cannot take its sequence in chunks: an operator needs all of it, or what comes after."""


class UntracedError(ExportError):
    """torch.export or torch.onnx fails on the model, as it is with so many axes free."""


class AdoptionError(RnnxError):
    """A file of another exporter cannot become a model of rnnx."""


class EngineError(RnnxError):
    """TensorRT refused or failed to build the engine."""


class GoldenError(RnnxError):
    """A golden file is missing, damaged, or of another model."""


class ReportError(RnnxError):
    """An earlier report is missing, damaged, of another kind or schema, or another model's."""


class RowDiedError(BackendError):
    """The process that a backend ran in died, or gave no answer in time."""


class OutputError(RnnxError):
    """A result could not be written; nothing was left behind."""


class MissingExtraError(RnnxError):
    """An optional package is not installed."""

    def __init__(self, package: str, *, extra: str, purpose: str) -> None:
        super().__init__(
            purpose, got=f"no package {package}", expected="it installed", remedy=f"pip install 'rnnx[{extra}]'"
        )


class BrokenExtraError(MissingExtraError):
    """An optional package is installed and fails when it is imported: a part is missing, or versions do not fit."""

    def __init__(self, *, got: str, expected: str, extra: str, purpose: str) -> None:
        RnnxError.__init__(self, purpose, got=got, expected=expected, remedy=f"pip install --upgrade 'rnnx[{extra}]'")

"""The backends that findings speak of, named as `rnnx verify` names its rows."""

ORT_CPU = ("ort-cpu",)
TENSORRT = ("tensorrt", "tensorrt-rtx")

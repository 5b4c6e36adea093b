"""The backends that findings speak of, named as `rnnx verify` names its rows, and runtimes that it has no row for."""

ORT_CPU = ("ort-cpu",)
TENSORRT = ("tensorrt", "tensorrt-rtx")
OPENVINO = ("openvino",)
TRACT = ("tract",)

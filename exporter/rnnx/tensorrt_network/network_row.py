"""The name of the row that TensorRT's parsed network is."""

NETWORK_ROW = "tensorrt-network"
"""The network that TensorRT's importer made of the model, evaluated in NumPy: no kernel of any backend runs."""

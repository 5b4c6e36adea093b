"""Which options of `rnnx export` go with which kind of source: what its help page groups, and what is refused."""

OF_LAYERS = ("module", "batch_first", "nonlinearity", "lengths")

OF_FACTORIES = (
    "checkpoint",
    "state_dict",
    "inputs",
    "states",
    "recurrent_states",
    "static",
    "output_names",
    "constants",
    "deterministic",
)

OF_DECODERS = ("steps", "feed", "start_token", "end_token", "pad_token", "allow_large")

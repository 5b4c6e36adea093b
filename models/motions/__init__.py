"""A spotter of motions in the signals of a smart watch: its data, training, measurement and export."""

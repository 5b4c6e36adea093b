"""A service that embeds `rnnx_runtime`: streams over WebSockets, whole sequences over HTTP; README.md shows it."""

"""Grapheme-to-phoneme models: the data, network, training and scoring that `g2p-lstm` and `g2p-gru` share."""

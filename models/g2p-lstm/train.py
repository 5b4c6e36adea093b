"""Trains g2p-lstm from the CMU Pronouncing Dictionary; see README.md beside this file."""

from pathlib import Path

import torch

from g2p.training import Recipe, train

RECIPE = Recipe(
    kind="lstm",
    embedding=64,
    hidden=192,
    dropout=0.2,
    epochs=10,
    batch_size=128,
    peak_learning_rate=2e-3,
    label_smoothing=0.05,
    seed=1,
)

if __name__ == "__main__":
    torch.set_num_threads(1)
    train(RECIPE, Path(__file__).parent)

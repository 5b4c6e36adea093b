"""The spotter of motions: the streams that it is trained on, and that the card says what was measured."""

import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch

from motions.drawn_streams import LONGEST, SHORTEST, disturbed, drawn_stream
from motions.evaluate import Quality, load
from motions.recordings import MOTIONS, Recording

FOLDER = Path(__file__).parents[2] / "models" / "motions"

KNOWN = [Recording(samples=np.full((100, 6), label, np.float32), label=label) for label in range(len(MOTIONS))]


def test_a_stream_is_of_pieces_with_their_labels() -> None:
    samples, labels = drawn_stream(KNOWN, 1_000, np.random.default_rng(0))
    assert samples.shape == (1_000, 6)
    np.testing.assert_array_equal(samples[:, 0], labels)
    changes = np.flatnonzero(np.diff(labels))
    assert set(labels.tolist()) == {0, 1, 2, 3}
    assert np.diff(changes).min() >= SHORTEST
    assert len(changes) < 1_000 / SHORTEST
    assert len(KNOWN[0].samples) >= LONGEST


def test_a_disturbed_stream_is_turned_as_a_whole() -> None:
    samples = np.random.default_rng(0).standard_normal((50, 6)).astype(np.float32)
    found = disturbed(samples, np.random.default_rng(1))
    assert (found.shape, str(found.dtype)) == (samples.shape, "float32")
    norms, before = np.linalg.norm(found[:, :3], axis=1), np.linalg.norm(samples[:, :3], axis=1)
    assert np.corrcoef(norms, before)[0, 1] > 0.95


def test_the_card_says_what_was_measured() -> None:
    quality = Quality(**json.loads((FOLDER / "quality.json").read_text()))
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    for name in ("right", "right_settled", "right_in_a_stream"):
        assert f"{getattr(quality, name):.2f} %" in card
    assert f"{quality.samples:,} samples" in card
    assert f"within {quality.largest_difference:.1e}".replace("e-06", "e-6") in card
    assert f"{sum(value.numel() for value in load(FOLDER).parameters()):,} float32" in card
    assert len(fields(Quality)) == 8


def test_the_weights_score_each_motion_of_each_sample() -> None:
    with torch.no_grad():
        scores = load(FOLDER)(torch.randn(2, 9, 6))
    assert scores.shape == (2, 9, len(MOTIONS))
    assert bool(torch.isfinite(scores).all())

"""`python -m motions.train`: trains models/motions from aeon's recordings; see README.md beside this file."""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from motions.drawn_streams import disturbed, drawn_stream
from motions.network import MotionSpotter
from motions.recordings import Recording, recordings

STEPS, ROWS, LENGTH, PEAK, SEED = 700, 32, 300, 4e-3, 1


def main() -> None:
    """Train, and write the weights and a log beside this file."""
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    folder, known = Path(__file__).parent, recordings("TRAIN")
    network = MotionSpotter()
    every = torch.from_numpy(np.concatenate([own.samples for own in known]))
    network.mean.copy_(every.mean(0))
    network.scale.copy_(1 / every.std(0))
    log = _trained(network, known)
    save_file(network.eval().state_dict(), folder / "model.safetensors")
    (folder / "training.log").write_text("\n".join(log) + "\n")


def _trained(network: MotionSpotter, known: list[Recording]) -> list[str]:
    optimizer = torch.optim.AdamW(network.parameters(), lr=PEAK, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=PEAK, total_steps=STEPS)
    loss_of, chance, log = nn.CrossEntropyLoss(label_smoothing=0.05), np.random.default_rng(SEED), []
    network.train()
    for step in range(1, STEPS + 1):
        samples, labels = _batch(known, chance)
        scores = network(samples)
        loss = loss_of(scores.flatten(0, 1), labels.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), max_norm=2.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0:
            right = float((scores.argmax(-1) == labels).float().mean())
            log.append(f"step {step}/{STEPS}  loss {loss.item():.4f}  right {100 * right:.2f} % of the batch's samples")
            print(log[-1], flush=True)
    return log


def _batch(known: list[Recording], chance: np.random.Generator) -> tuple[Tensor, Tensor]:
    rows = [drawn_stream(known, LENGTH, chance) for _ in range(ROWS)]
    samples = np.stack([disturbed(own, chance) for own, _ in rows])
    return torch.from_numpy(samples), torch.from_numpy(np.stack([labels for _, labels in rows]))


if __name__ == "__main__":
    main()

"""The training loop: Adam on a one-cycle schedule, a checkpoint after every epoch, resumed where it stopped."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from tqdm import tqdm

from g2p.batches import training_batches
from g2p.dictionary import PAD, entries
from g2p.network import Kind, Speller
from g2p.scoring import score


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides the result: sizes, schedule and seed."""

    kind: Kind
    embedding: int
    hidden: int
    dropout: float
    epochs: int
    batch_size: int
    peak_learning_rate: float
    label_smoothing: float
    seed: int


def train(recipe: Recipe, folder: Path) -> Speller:
    """Train to the recipe's last epoch and write `folder/model.safetensors`.

    An interrupted run goes on from the last whole epoch in `folder/.training/last.pt`; delete it to start over.
    """
    torch.manual_seed(recipe.seed)
    network = Speller(recipe.kind, recipe.embedding, recipe.hidden, recipe.dropout)
    words, held_out = entries("train"), entries("validation")
    steps_per_epoch = len(training_batches(words, recipe.batch_size, seed=0))
    optimizer = torch.optim.Adam(network.parameters(), lr=recipe.peak_learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=recipe.peak_learning_rate,
        epochs=recipe.epochs,
        steps_per_epoch=steps_per_epoch,
        pct_start=0.15,
    )
    loss_of = nn.CrossEntropyLoss(ignore_index=PAD, label_smoothing=recipe.label_smoothing)
    last = folder / ".training" / "last.pt"
    first_epoch = _resume(last, recipe, network, optimizer, schedule)
    if first_epoch == recipe.epochs:
        print(f"nothing to train: {last} holds the last epoch; delete it to start over")

    for epoch in range(first_epoch, recipe.epochs):
        network.train()
        total = 0.0
        batches = training_batches(words, recipe.batch_size, seed=recipe.seed + epoch)
        for batch in tqdm(batches, desc=f"epoch {epoch + 1}/{recipe.epochs}", unit="batch", mininterval=5):
            loss = loss_of(network(batch.letters, batch.inputs).flatten(0, 1), batch.targets.flatten())
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), max_norm=2.0)
            optimizer.step()
            schedule.step()
            total += loss.item()
        _remember(last, recipe, epoch + 1, network, optimizer, schedule)
        result = score(network, held_out)
        line = f"loss {total / len(batches):.4f}  validation PER {result.per:.2f} %  WER {result.wer:.2f} %"
        print(f"epoch {epoch + 1}/{recipe.epochs}  {line}", flush=True)

    sizes = {"kind": recipe.kind, "embedding": recipe.embedding, "hidden": recipe.hidden}
    save_file(network.state_dict(), folder / "model.safetensors", metadata={"speller": json.dumps(sizes)})
    return network


def _remember(
    path: Path,
    recipe: Recipe,
    epoch: int,
    network: Speller,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> None:
    path.parent.mkdir(exist_ok=True)
    partial = path.with_suffix(".partial")
    torch.save(
        {
            "recipe": asdict(recipe),
            "epoch": epoch,
            "network": network.state_dict(),
            "optimizer": optimizer.state_dict(),
            "schedule": schedule.state_dict(),
            "random": torch.get_rng_state(),
        },
        partial,
    )
    partial.replace(path)


def _resume(
    path: Path,
    recipe: Recipe,
    network: Speller,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> int:
    """Load what `_remember` wrote, if anything; returns the number of epochs already done."""
    if not path.exists():
        return 0
    saved = torch.load(path, weights_only=True)
    if saved["recipe"] != asdict(recipe):
        raise SystemExit(f"{path} was trained by another recipe; delete it to start over")
    network.load_state_dict(saved["network"])
    optimizer.load_state_dict(saved["optimizer"])
    schedule.load_state_dict(saved["schedule"])
    torch.set_rng_state(saved["random"])
    epoch: int = saved["epoch"]
    return epoch

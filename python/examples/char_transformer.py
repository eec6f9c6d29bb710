"""A small transformer that learns to write Python's own documentation, letter by letter.

    python char_transformer.py           train it with the policy that comes with lrpilot
    python char_transformer.py --task    learn a policy on a smaller one first, then train with it

The text is the standard library's `pydoc_data.topics`; nothing is downloaded.
"""

import argparse
import functools
import pathlib
import tempfile
from pydoc_data.topics import topics

import torch
from torch import nn

import lrpilot
from lrpilot.torch import LearnedLR, TorchTask

LENGTH = 32
EPOCHS, BATCH = 10, 32


class Transformer(nn.Module):
    """One block of attention that looks back only, on letters and their places."""

    def __init__(self, letters: int, width: int = 48) -> None:
        super().__init__()
        self.letter, self.place = nn.Embedding(letters, width), nn.Parameter(torch.randn(LENGTH, width) * 0.1)
        self.block = nn.TransformerEncoderLayer(width, 4, 4 * width, dropout=0.0, batch_first=True, norm_first=True)
        self.out = nn.Linear(width, letters)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(LENGTH), persistent=False)

    def forward(self, text: torch.Tensor) -> torch.Tensor:
        return self.out(self.block(self.letter(text) + self.place, src_mask=self.mask, is_causal=True))


def windows(count: int) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Stretches of text, the same one letter on, and the number of different letters."""
    text = "".join(topics[name] for name in sorted(topics))[: count * LENGTH + 1]
    letters = sorted(set(text))
    codes = torch.tensor([letters.index(letter) for letter in text])
    return codes[:-1].view(count, LENGTH), codes[1:].view(count, LENGTH), len(letters)


def loss_of(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return nn.functional.cross_entropy(outputs.flatten(0, 1), targets.flatten())


def train(policy: str) -> None:
    x, y, letters = windows(800)
    torch.manual_seed(0)
    model = Transformer(letters)
    optimizer = torch.optim.AdamW(model.parameters())
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(x[:700], y[:700]), batch_size=BATCH, shuffle=True
    )
    schedule = LearnedLR(optimizer, total=EPOCHS, loader=loader, policy=policy)
    for epoch in range(EPOCHS):
        for inputs, targets in loader:
            optimizer.zero_grad()
            loss = loss_of(model(inputs), targets)
            loss.backward()
            schedule.observe(loss)
            optimizer.step()
        with torch.no_grad():
            val_loss = loss_of(model(x[700:]), y[700:])
        schedule.step(val_loss)
        print(f"epoch {epoch + 1:2}: loss on held-back text {val_loss:.3f}, learning rate {schedule.get_last_lr()[0]:.2e}")


def learn(path: str) -> None:
    """A policy from 300 intervals of 10 steps on a narrower transformer: too few to be good, enough to see it done."""
    x, y, letters = windows(400)
    task = TorchTask(
        functools.partial(Transformer, letters, 16),
        (x, y),
        loss_of,
        torch.optim.AdamW,
        batch_size=BATCH,
        interval_steps=10,
        horizon=10,
    )
    settings = {"learn.candidates": 2, "learn.selection_seeds": 2}
    policy = lrpilot.learn(task, 300, environments=4, settings=settings, progress=print)
    policy.save(path)
    print(f"loss of the runs that it was chosen by: {policy.selection_loss:.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", action="store_true", help="learn a policy first")
    if parser.parse_args().task:
        with tempfile.TemporaryDirectory() as folder:
            learned = str(pathlib.Path(folder) / "policy.safetensors")
            learn(learned)
            train(learned)
    else:
        train("pretrained")

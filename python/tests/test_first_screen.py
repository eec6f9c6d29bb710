"""The README's picture shows what was measured, by the policy that comes with lrpilot, and its program runs."""

import json
import math
import pathlib
import re
import sys
from dataclasses import replace

import pytest
import torch

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "python" / "bench"))

import first_screen
import proof

README = (ROOT / "README.md").read_text()
AGAIN = "run python/bench/first_screen.py again, and write what it prints into the README's caption"


@pytest.fixture(scope="module")
def numbers():
    return json.loads(first_screen.NUMBERS.read_text())


def test_the_picture_is_that_of_the_numbers(numbers):
    assert first_screen.PICTURE.read_text() == first_screen.picture(numbers["runs"]), AGAIN
    assert len(first_screen.PICTURE.read_bytes()) < 60_000
    assert first_screen.PICTURE.relative_to(ROOT).as_posix() in README


def test_the_policy_is_the_one_that_comes_with_lrpilot(numbers):
    assert numbers["policy"] == proof.identity_of("pretrained"), AGAIN


def test_the_caption_says_the_numbers(numbers):
    losses = re.findall(r"\d\.\d{3}", first_screen.caption(numbers["runs"]))
    (said,) = re.findall(r"^\*\*On one training.*?\n\n", README, flags=re.DOTALL | re.MULTILINE)
    assert len(losses) == 4 and set(losses) <= set(re.findall(r"\d\.\d{3}", said)), f"{losses}: {AGAIN}"


def test_trainings_end_where_those_of_the_comparison_end(numbers):
    rows = [row for row in proof.read(proof.RESULTS) if row["task"] == numbers["task"]]
    compared = 0
    for name, (method, is_tuned, _) in first_screen.METHODS.items():
        lr, policy = numbers["tuned_lr"] if is_tuned else None, numbers["policy"] if method == "learned" else None
        ended = {r["seed"]: r["test"] for r in rows if (r["method"], r["lr"], r.get("policy")) == (method, lr, policy)}
        for seed in ended.keys() & set(proof.SEEDS):
            # Another version of PyTorch, or another processor, may round otherwise.
            assert numbers["runs"][name][seed]["test"][-1] == pytest.approx(ended[seed], rel=0.05)
            compared += 1
    assert compared >= 15, "three methods need no policy"


@pytest.mark.parametrize("method", ["cosine", "learned"])
def test_what_is_recorded_is_what_was_done(policy, method):
    task = replace(first_screen.TASK, epochs=2, batch=50, model=lambda: torch.nn.Linear(4, 3))
    x, y = torch.randn(200, 4), torch.arange(200) % 3
    data = first_screen.Data((x, y), (x[:50], y[:50]), (x[50:], y[50:]))
    lr = None if method == "learned" else 0.1
    run = first_screen.train(task, data, method, lr, 0, policy)
    assert run["step"] == [1, 7, 8], "the first step, every seventh and the last"
    assert run["test"][-1] == pytest.approx(proof.train(task, data, method, lr, 0, policy)["test"], rel=1e-4)
    if method == "cosine":
        assert run["lr"] == pytest.approx([0.05 * (1 + math.cos(math.pi * i / 8)) for i in (0, 6, 7)], rel=1e-3)


def test_the_program_of_the_readme_runs():
    (program,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    model, x = torch.nn.Linear(3, 1), torch.randn(32, 3)

    def val_loss(model):
        return torch.nn.functional.mse_loss(model(x), x.sum(1, keepdim=True)).item()

    def train(model, optimizer):
        for _ in range(4):
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(model(x), x.sum(1, keepdim=True)).backward()
            optimizer.step()

    names = {"model": model, "epochs": 3, "train": train, "val_loss": val_loss}
    before = val_loss(model)
    exec(program, names)
    assert names["schedule"].finished and val_loss(model) < before

"""The same weights, batches and policy in lrpilot and in PyTorch give the same learning rates."""

import json
import os
import pathlib
import subprocess
import sys

import pytest
import torch

from lrpilot.torch import LearnedLR

ROOT = pathlib.Path(__file__).parents[2]
PROGRAM = os.environ.get("LRPILOT_PROGRAM")
sys.path.insert(0, str(ROOT / "bench"))

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="LRPILOT_PROGRAM does not name the program lrpilot")
CASES = [
    ('{type="sgd",momentum=0.9}', "mlp-32-32"),
    ('{type="sgd",momentum=0.0}', "mlp-32-32"),
    ('{type="adam"}', "mlp-32-32"),
    ('{type="rmsprop"}', "mlp-32-32"),
    ('{type="adamw"}', "mnist-cnn"),
]


@pytest.mark.parametrize(("optimizer", "model"), CASES)
def test_learning_rates_are_those_of_our_own_engine(policy, tmp_path, optimizer, model):
    replayed = pytest.importorskip("replay_torch", reason="needs safetensors")
    settings = [f"task.optimizer={optimizer}", f'task.model="{model}"', "task.horizon=12", "task.data.train_images=200"]
    command = [PROGRAM, "--progress", "silent", "evaluate", "digits", "--schedule", policy]
    command += [argument for setting in settings for argument in ("--set", setting)]
    subprocess.run([*command, "--export-replay", tmp_path], check=True, stdout=subprocess.DEVNULL)
    run = json.loads((tmp_path / "replay.json").read_text())
    data = replayed.load_file(tmp_path / "data.safetensors")
    train_x, train_y, val_x, val_y = (data[key] for key in ("train_x", "train_y", "val_a_x", "val_a_y"))
    net = replayed.build(run["layers"], train_x[:1])
    net.load_state_dict(replayed.load_file(tmp_path / "initial.safetensors"), strict=False)
    optimizer = replayed.optimizer_of(run["task"]["optimizer"], net.parameters())
    batch = run["task"]["batch_size"]
    steps = -(-len(train_x) // batch)
    orders = data["batch_order"].long()

    def val_loss():
        net.eval()
        with torch.no_grad():
            loss = torch.nn.functional.cross_entropy(net(val_x).flatten(1), val_y.long()).item()
        net.train()
        return loss

    schedule = LearnedLR(
        optimizer,
        total=len(orders),
        total_steps=len(orders) * steps,
        batch_size=batch,
        examples=len(train_x),
        policy=policy,
    )
    schedule.step(val_loss())
    for order in orders:
        for indices in order.split(batch):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(net(train_x[indices]).flatten(1), train_y[indices].long())
            loss.backward()
            schedule.observe(loss)
            optimizer.step()
        schedule.step(val_loss())
    ours = [row["lr"] for row in run["curve"]]
    theirs = schedule.extract()[steps // 2 :: steps]  # an interval is recorded with the rate of its middle
    assert theirs == pytest.approx(ours, rel=1e-4)
    assert len({round(lr / ours[0], 3) for lr in ours}) == len(ours), "the policy moved it each time"

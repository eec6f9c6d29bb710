"""Train an exported run again in PyTorch and print the largest relative difference of the losses.

    lrpilot evaluate digits --schedule cosine --lr 0.02 --set task.horizon=5 --export-replay DIR
    python bench/replay_torch.py DIR

Exit code 1 if the difference is above --tolerance.
"""

import argparse
import json
import pathlib
import sys

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional


class Residual(nn.Module):
    """The ResNet basic block, with torchvision's names."""

    def __init__(self, inputs: int, channels: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = None
        if stride != 1 or inputs != channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x):
        skip = x if self.downsample is None else self.downsample(x)
        y = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(y)) + skip)


class FlatLinear(nn.Linear):
    """A dense layer that flattens its input, as lrpilot's does."""

    def forward(self, x):
        return super().forward(x.flatten(1))


def build(layers: list[dict], x: torch.Tensor) -> nn.Sequential:
    """The model, shapes found by running one example through it."""
    model = nn.Sequential()
    for spec in layers:
        features, channels = x[0].numel(), x.shape[1]
        match spec["type"]:
            case "dense":
                layer = FlatLinear(features, spec["units"])
            case "conv2d":
                layer = nn.Conv2d(channels, spec["channels"], spec["kernel"], spec["stride"], spec["padding"])
            case "relu":
                layer = nn.ReLU()
            case "tanh":
                layer = nn.Tanh()
            case "max-pool":
                layer = nn.MaxPool2d(spec["size"])
            case "global-avg-pool":
                layer = nn.AdaptiveAvgPool2d(1)
            case "dropout":
                layer = nn.Dropout(spec["p"])
            case "batch-norm":
                layer = nn.BatchNorm2d(channels) if x.dim() == 4 else nn.BatchNorm1d(channels)
            case "residual":
                layer = Residual(channels, spec["channels"], spec["stride"])
            case other:
                raise SystemExit(f"unknown layer {other!r}")
        model.append(layer)
        with torch.no_grad():
            x = layer.eval()(x)
    return model.train()


def optimizer_of(spec: dict, parameters) -> torch.optim.Optimizer:
    classes = {
        "sgd": torch.optim.SGD,
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
        "nadam": torch.optim.NAdam,
        "radam": torch.optim.RAdam,
        "adadelta": torch.optim.Adadelta,
        "adagrad": torch.optim.Adagrad,
        "rmsprop": torch.optim.RMSprop,
    }
    options = {key: value for key, value in spec.items() if key != "type"}
    return classes[spec["type"]](parameters, lr=1.0, **options)


def replay(folder: pathlib.Path, dtype: torch.dtype) -> float:
    run = json.loads((folder / "replay.json").read_text())
    data = load_file(folder / "data.safetensors")
    of_values = data["train_y"].is_floating_point()
    loss_of = functional.mse_loss if of_values else functional.cross_entropy
    target_dtype = dtype if of_values else torch.long
    train_x, train_y = data["train_x"].to(dtype), data["train_y"].to(target_dtype)
    val_x, val_y = data["val_a_x"].to(dtype), data["val_a_y"].to(target_dtype)
    model = build(run["layers"], train_x[:1].float()).to(dtype)
    weights = {name: value.to(dtype) for name, value in load_file(folder / "initial.safetensors").items()}
    missing, unexpected = model.load_state_dict(weights, strict=False)
    if unexpected or any(not name.endswith("num_batches_tracked") for name in missing):
        raise SystemExit(f"weights do not fit: missing {missing}, unexpected {unexpected}")
    optimizer = optimizer_of(run["task"]["optimizer"], model.parameters())
    largest = 0.0
    print(f"{'epoch':>5} {'lr':>10} {'train':>10} {'torch':>10} {'val':>10} {'torch':>10}  difference")
    for row, order in zip(run["curve"], data["batch_order"].long(), strict=True):
        for group in optimizer.param_groups:
            group["lr"] = row["lr"]
            if "weight_decay" in row:
                group["weight_decay"] = row["weight_decay"]
            if "momentum" in row and "betas" in group:
                group["betas"] = (row["momentum"], group["betas"][1])
            elif "momentum" in row:
                group["momentum"] = row["momentum"]
        model.train()
        losses = []
        for batch in order.split(run["task"]["batch_size"]):
            optimizer.zero_grad()
            loss = loss_of(model(train_x[batch]).flatten(1), train_y[batch])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        model.eval()
        with torch.no_grad():
            val = loss_of(model(val_x).flatten(1), val_y).item()
        train = sum(losses) / len(losses)
        pairs = [(train, row["train_loss"]), (val, row["val_loss_a"])]
        difference = max(abs(theirs - ours) / max(abs(theirs), 1e-12) for theirs, ours in pairs)
        largest = max(largest, difference)
        print(
            f"{row['interval']:5} {row['lr']:10.3e} {row['train_loss']:10.6f} {train:10.6f}"
            f" {row['val_loss_a']:10.6f} {val:10.6f}  {difference:.2e}"
        )
    return largest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--tolerance", type=float, default=1e-3)
    parser.add_argument("--float64", action="store_true", help="train in double precision, to tell rounding from error")
    args = parser.parse_args()
    torch.set_num_threads(1)
    largest = replay(args.folder, torch.float64 if args.float64 else torch.float32)
    print(f"largest relative difference: {largest:.2e} (tolerance {args.tolerance:.0e})")
    sys.exit(largest > args.tolerance)


if __name__ == "__main__":
    main()

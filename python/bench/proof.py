"""`LearnedLR` beside constant, cosine and one-cycle learning rates, in plain PyTorch.

    LRPILOT_DATA=DIR python python/bench/proof.py run
    python python/bench/proof.py table > python/bench/results/proof.md

`run` makes every training that the file of results does not hold yet, so that a killed run goes on where it was; one core
needs about a quarter of an hour. With another policy it makes the trainings of that policy alone.

- `LearnedLR` gets what a loop knows (its length, its batches) and no learning rate.
- Each other method is run at PyTorch's default learning rate of the optimizer, and at the one of 20, spread evenly over
  five decades, with the least validation loss at the end of a training with a seed of its own.
- Results are test losses at the end of trainings with five fresh seeds. All methods have the same initial weights and the
  same batches. A training whose loss is not finite counts as the untrained network.
- The best tuned method is that with the least mean test loss over the fresh seeds: a choice that favours it.
"""

import argparse
import contextlib
import json
import math
import pathlib
import statistics
from collections.abc import Callable, Iterator
from typing import Any

import torch
from proof_tasks import TASKS, Batches, Data, Part, Task, stream
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, OneCycleLR

from lrpilot._policy import PolicyFile
from lrpilot.torch import LearnedLR

Row = dict[str, Any]

RESULTS = pathlib.Path(__file__).parent / "results" / "proof.jsonl"
METHODS = ["constant", "cosine", "one-cycle"]
TUNING_SEED, SEEDS = 1000, range(5)
TRAININGS = 20
#: Quantile 0.975 of Student's distribution with one degree of freedom less than there are seeds.
STUDENT = 2.776


# One training.


def batches_of(task: Task, data: Data, seed: int) -> Iterator[tuple[Part, bool]]:
    """The batches of a run, and whether held-back data are looked at after each."""
    if task.epochs is None:
        for i in range(task.steps or 0):
            yield stream(task.batch, 10**6 * (seed + 1) + i), False
        return
    loader = Batches(data.train, task.batch, seed)
    for _ in range(task.epochs):
        for i, batch in enumerate(loader, 1):
            yield batch, i == len(loader)


def scheduler(method: str, optimizer: Optimizer, lr: float, steps: int) -> LRScheduler | None:
    """What sets the learning rate after each step; one-cycle reaches `lr` at its peak."""
    if method == "cosine":
        return CosineAnnealingLR(optimizer, steps)
    if method == "one-cycle":
        return OneCycleLR(optimizer, lr, total_steps=steps)
    return None


def learned(task: Task, data: Data, optimizer: Optimizer, policy: str) -> LearnedLR:
    if task.epochs is None:
        return LearnedLR(optimizer, total_steps=task.steps, batch_size=task.batch, policy=policy)
    return LearnedLR(optimizer, task.epochs, loader=Batches(data.train, task.batch, 0), policy=policy)


def train(task: Task, data: Data, method: str, lr: float | None, seed: int, policy: str) -> Row:
    """Losses of one training, with the optimizer's default learning rate where `lr` is absent."""
    torch.manual_seed(seed)
    model = task.model()
    precision = torch.autocast("cpu", torch.bfloat16) if task.bf16 else contextlib.nullcontext()
    optimizer = task.optimizer(model.parameters(), **task.settings, **({} if lr is None else {"lr": lr}))

    def loss_of(part: Part) -> torch.Tensor:
        with precision:
            return task.loss(model(part[0]), part[1])

    def held_back(part: Part) -> float:
        model.eval()
        with torch.no_grad():
            loss = loss_of(part).item()
        model.train()
        return loss

    untrained = held_back(data.test)
    steps = task.steps or (task.epochs or 0) * len(Batches(data.train, task.batch, 0))
    ours = learned(task, data, optimizer, policy) if method == "learned" else None
    theirs = None if ours else scheduler(method, optimizer, optimizer.defaults["lr"], steps)
    for batch, end in batches_of(task, data, seed):
        optimizer.zero_grad()
        loss = loss_of(batch)
        loss.backward()
        if ours:
            ours.observe(loss)
        optimizer.step()
        if theirs:
            theirs.step()
        if ours and end:
            ours.step(held_back(data.val))
    losses = {"val": held_back(data.val), "test": held_back(data.test), "untrained": untrained}
    return {name: shown(loss) for name, loss in losses.items()}


def shown(loss: float) -> float | None:
    """Six digits; nothing where it is not finite."""
    return float(f"{loss:.6g}") if math.isfinite(loss) else None


# Many.


def read(file: pathlib.Path) -> list[Row]:
    """The whole lines of a file of results; what a killed run left of its last line is cut off."""
    if not file.exists():
        return []
    content = file.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        file.write_bytes(whole)
    return [json.loads(line) for line in whole.splitlines()]


def key(row: Row) -> tuple[Any, ...]:
    return tuple(row.get(name) for name in ("task", "method", "lr", "seed", "policy"))


class Results:
    """Rows in a file, one a training; a row that is there is not made again."""

    def __init__(self, file: pathlib.Path) -> None:
        self.file = file
        self.rows = {key(row): row for row in read(file)}
        file.parent.mkdir(parents=True, exist_ok=True)

    def get(self, what: Row, make: Callable[[], Row]) -> Row:
        if key(what) not in self.rows:
            row = {**what, **make()}
            with open(self.file, "a") as out:
                out.write(json.dumps(row) + "\n")
            self.rows[key(what)] = row
            print(json.dumps(row), flush=True)
        return self.rows[key(what)]


def grid(task: Task) -> list[float]:
    low, high = (math.log10(lr) for lr in task.lrs)
    return [float(f"{10 ** (low + (high - low) * i / (TRAININGS - 1)):.4g}") for i in range(TRAININGS)]


def best_lr(rows: list[Row]) -> float:
    """The learning rate of the tuning run with the least validation loss."""
    lr: float = min(rows, key=lambda row: math.inf if row["val"] is None else row["val"])["lr"]
    return lr


def run(results: Results, tasks: list[Task], methods: list[str], policy: str) -> None:
    identity = identity_of(policy)
    for task in tasks:
        data = task.data()

        def get(method: str, lr: float | None, seed: int, task: Task = task, data: Data = data) -> Row:
            what: Row = {"task": task.name, "method": method, "lr": lr, "seed": seed}
            if method == "learned":
                what["policy"] = identity
            return results.get(what, lambda: train(task, data, method, lr, seed, policy))

        for method in methods:
            rates: list[float | None] = [None]
            if method != "learned":
                rates.append(best_lr([get(method, lr, TUNING_SEED) for lr in grid(task)]))
            for lr in rates:
                for seed in SEEDS:
                    get(method, lr, seed)


def identity_of(policy: str) -> str:
    return PolicyFile.read(policy).sha256[:12]


# The tables.


def tested(rows: list[Row]) -> list[float]:
    """Test losses by seed; nothing where trainings are missing."""
    losses = {row["seed"]: row["untrained"] if row["test"] is None else row["test"] for row in rows}
    return [losses[seed] for seed in SEEDS] if losses.keys() >= set(SEEDS) else []


def losses_of(rows: list[Row], task: Task, policy: str) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Test losses of each method that is complete, and the learning rates that were tuned."""
    of_task = [row for row in rows if row["task"] == task.name]
    losses, rates = {"LearnedLR": tested([row for row in of_task if row.get("policy") == policy])}, {}
    for method in METHODS:
        of_method = [row for row in of_task if row["method"] == method]
        losses[f"{method}, default"] = tested([row for row in of_method if row["lr"] is None])
        tuning = [row for row in of_method if row["seed"] == TUNING_SEED]
        if len(tuning) == TRAININGS:
            rates[f"{method}, tuned"] = lr = best_lr(tuning)
            losses[f"{method}, tuned"] = tested([row for row in of_method if row["lr"] == lr])
    return {name: each for name, each in losses.items() if each}, rates


def logs_of(losses: list[float], reference: list[float]) -> list[float]:
    return [math.log(a / b) for a, b in zip(losses, reference, strict=True)]


def interval(logs: list[float]) -> str:
    """The geometric mean of ratios by seed, with the 95 % interval of a paired t-test."""
    mean, half = statistics.fmean(logs), STUDENT * statistics.stdev(logs) / len(logs) ** 0.5
    return f"{math.exp(mean):.3f} [{math.exp(mean - half):.3f}, {math.exp(mean + half):.3f}]"


def cell(losses: list[float], lr: float | None) -> str:
    mean = f"{statistics.fmean(losses):.4g}"
    return mean if lr is None else f"{mean} ({lr:.2g})"


def row_of(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def tables(rows: list[Row], policy: str) -> Iterator[str]:
    """Markdown, a line at a time; a task that is not complete is left out."""
    yield f"Test losses: means over {len(SEEDS)} seeds, in brackets the tuned learning rate. Ratios: geometric means over"
    yield f"seeds, in brackets their 95 % interval. The policy is `{policy}`."
    yield ""
    names = ["LearnedLR", *(f"{method}, {kind}" for kind in ["tuned", "default"] for method in METHODS)]
    yield row_of(["task", "LearnedLR / best tuned", *names])
    yield "|" + " --- |" * (2 + len(names))
    every: list[dict[str, list[float]]] = []
    for task in TASKS:
        losses, rates = losses_of(rows, task, policy)
        if losses.keys() != set(names):
            continue
        best = min((name for name in names if name.endswith("tuned")), key=lambda name: statistics.fmean(losses[name]))
        every.append({name: logs_of(losses[name], losses[best]) for name in names})
        cells = [cell(losses[name], rates.get(name)) for name in names]
        yield row_of([task.name, interval(every[-1]["LearnedLR"]), *cells])
    if not every:
        return
    yield ""
    yield row_of(["test loss / that of the best tuned method", f"mean of {len(every)} tasks", "median", "largest"])
    yield "|" + " --- |" * 4
    for name in names:
        by_seed = zip(*(logs[name] for logs in every), strict=True)
        by_task = [math.exp(statistics.fmean(logs[name])) for logs in every]
        all_tasks = interval([statistics.fmean(each) for each in by_seed])
        yield row_of([name, all_tasks, f"{statistics.median(by_task):.3f}", f"{max(by_task):.3f}"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["run", "table"])
    parser.add_argument("--results", type=pathlib.Path, default=RESULTS)
    parser.add_argument("--policy", default="pretrained", help="a policy's name or file")
    parser.add_argument("--methods", nargs="+", choices=[*METHODS, "learned"], default=[*METHODS, "learned"])
    parser.add_argument("--tasks", nargs="+", choices=[task.name for task in TASKS], metavar="TASK")
    args = parser.parse_args()
    if args.command == "table":
        print("\n".join(tables(read(args.results), identity_of(args.policy))))
        return
    torch.set_num_threads(1)
    tasks = [task for task in TASKS if args.tasks is None or task.name in args.tasks]
    run(Results(args.results), tasks, args.methods, args.policy)


if __name__ == "__main__":
    main()

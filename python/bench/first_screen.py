"""The picture of the README: the pretrained policy beside tuned cosine and the defaults, in plain PyTorch.

    LRPILOT_DATA=DIR python python/bench/first_screen.py

Trains one task of `proof_tasks.py` with four methods and five seeds, about a minute on one core. Writes the numbers to
`results/first_screen.json` and the picture to `docs/first_screen.svg`, and prints what the README's caption has to say.

- The task is the median of the seven in `proof.py`, by the loss of `LearnedLR` over that of the best tuned method; no policy
  was learned on its data.
- The tuned cosine has the learning rate that `results/proof.jsonl` found best among 20.
- The test loss is measured while the network trains, for the picture alone: no method sees it.
"""

import argparse
import json
import math
import pathlib
import statistics
from typing import Any

import proof
import torch
from proof_tasks import TASKS, Data, Part, Task

Run = dict[str, list[float]]
Points = list[tuple[float, float]]

HERE = pathlib.Path(__file__).parent
NUMBERS, PICTURE = HERE / "results" / "first_screen.json", HERE.parents[1] / "docs" / "first_screen.svg"
(TASK,) = [task for task in TASKS if task.name == "satimage-radam"]
#: Optimizer steps from one measurement to the next.
EVERY = 7
#: For each name the method, whether its learning rate is tuned, and a colour that is seen on white and on black.
METHODS = {
    "LearnedLR, no tuning": ("learned", False, "#d9480f"),
    "cosine, tuned": ("cosine", True, "#3b78d8"),
    "constant, default": ("constant", False, "#7b8494"),
    "cosine, default": ("cosine", False, "#8f62c8"),
}
STYLE = """<style>text{font:17px system-ui,-apple-system,'Segoe UI',sans-serif;fill:#7b8494}
.grid{stroke:#8b93a3;stroke-opacity:.3}.line{fill:none;stroke-width:2.5;stroke-linejoin:round}</style>"""
WIDTH, HEIGHT, TOP, BOTTOM = 640, 350, 92, 298


def train(task: Task, data: Data, method: str, lr: float | None, seed: int, policy: str) -> Run:
    """The training of `proof.train`, with the learning rate of every few steps and the test loss after them."""
    torch.manual_seed(seed)
    model = task.model()
    optimizer = task.optimizer(model.parameters(), **task.settings, **({} if lr is None else {"lr": lr}))

    def held_back(part: Part) -> float:
        with torch.no_grad():
            return task.loss(model(part[0]), part[1]).item()

    batches = list(proof.batches_of(task, data, seed))
    ours = proof.learned(task, data, optimizer, policy) if method == "learned" else None
    theirs = None if ours else proof.scheduler(method, optimizer, optimizer.defaults["lr"], len(batches))
    seen: Run = {"step": [], "test": [], "lr": []}
    for step, ((x, y), end) in enumerate(batches, 1):
        optimizer.zero_grad()
        loss = task.loss(model(x), y)
        loss.backward()
        if ours:
            ours.observe(loss)
        optimizer.step()
        rate = optimizer.param_groups[0]["lr"]
        if theirs:
            theirs.step()
        if ours and end:
            ours.step(held_back(data.val))
        if step % EVERY == 0 or step in (1, len(batches)):
            for name, value in [("step", step), ("test", held_back(data.test)), ("lr", rate)]:
                seen[name].append(float(f"{value:.5g}"))
    return seen


def measured(policy: str) -> dict[str, Any]:
    """Everything that the picture shows."""
    tuning = {"task": TASK.name, "method": "cosine", "seed": proof.TUNING_SEED}
    tuned = proof.best_lr([row for row in proof.read(proof.RESULTS) if tuning.items() <= row.items()])
    data = TASK.data()
    runs = {
        name: [train(TASK, data, method, tuned if is_tuned else None, seed, policy) for seed in proof.SEEDS]
        for name, (method, is_tuned, _) in METHODS.items()
    }
    of = {"task": TASK.name, "policy": proof.identity_of(policy), "torch": torch.__version__, "tuned_lr": tuned}
    return {**of, "runs": runs}


def caption(runs: dict[str, list[Run]]) -> str:
    ends = [(name, statistics.fmean(run["test"][-1] for run in each)) for name, each in runs.items()]
    return "; ".join(f"{name}: {loss:.3f}" for name, loss in ends)


def curve(points: Points) -> str:
    return "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def panel(runs: dict[str, list[Run]], key: str, title: str, edges: tuple[int, int], ticks: dict[float, str]) -> str:
    """One quantity on a logarithmic axis from the first tick to the last: medians over seeds, and their ranges."""
    (left, right), (low, high) = edges, (math.log(list(ticks)[i]) for i in (0, -1))
    last = next(iter(runs.values()))[0]["step"][-1]

    def at(step: float, value: float) -> tuple[float, float]:
        share = (math.log(value) - low) / (high - low)
        return left + (right - left) * step / last, BOTTOM - (BOTTOM - TOP) * min(max(share, 0.0), 1.0)

    out, middle = "", (left + right) / 2
    for value, label in ticks.items():
        y = at(0, value)[1]
        out += f'<path class="grid" d="M{left} {y:.1f}H{right}"/>'
        out += f'<text x="{left - 7}" y="{y + 5:.1f}" text-anchor="end">{label}</text>\n'
    for text, x, y in [(title, middle, TOP - 12), ("optimizer step", middle, BOTTOM + 43)] + [
        (str(step), at(step, 1)[0], BOTTOM + 22) for step in range(0, int(last) + 1, 250)
    ]:
        out += f'<text x="{x:.0f}" y="{y}" text-anchor="middle">{text}</text>\n'
    for name, (_, _, colour) in reversed(METHODS.items()):
        by_step = zip(runs[name][0]["step"], *(run[key] for run in runs[name]), strict=True)
        spread = [(at(x, min(y)), at(x, statistics.median(y)), at(x, max(y))) for x, *y in by_step]
        bottom, line, top = (list(points) for points in zip(*spread, strict=True))
        out += f'<path fill="{colour}" fill-opacity=".2" d="M{curve(bottom)}L{curve(top[::-1])}Z"/>\n'
        out += f'<path class="line" stroke="{colour}" d="M{curve(line)}"/>\n'
    return out


def picture(runs: dict[str, list[Run]]) -> str:
    out = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}"'
    out += f' role="img" aria-label="test loss and learning rate of four methods">\n{STYLE}\n'
    for i, (name, (_, _, colour)) in enumerate(METHODS.items()):
        x, y = 52 + 300 * (i % 2), 20 + 26 * (i // 2)
        out += f'<path d="M{x} {y - 5}h26" stroke="{colour}" stroke-width="4"/>'
        out += f'<text x="{x + 34}" y="{y}" style="fill:{colour}">{name}</text>\n'
    out += panel(runs, "test", "test loss", (52, 308), {0.3: "0.3", 0.5: "0.5", 1.0: "1", 2.0: "2"})
    out += panel(runs, "lr", "learning rate", (384, 626), {10.0**i: f"1e{i}" for i in range(-5, 0)})
    return out + "</svg>\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy", default="pretrained", help="a policy's name or file")
    torch.set_num_threads(1)
    numbers = measured(parser.parse_args().policy)
    NUMBERS.write_text(json.dumps(numbers) + "\n")
    PICTURE.write_text(picture(numbers["runs"]))
    print(caption(numbers["runs"]))


if __name__ == "__main__":
    main()

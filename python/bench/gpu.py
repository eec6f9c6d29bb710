"""What a GPU changes: copies of a model side by side, and the cost of LearnedLR for each optimizer step.

    python python/bench/gpu.py                    on the GPU, within six minutes
    python python/bench/gpu.py --device cpu       a few small sizes on the CPU

It prints one JSON object a line.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

from lrpilot import Hyperparameters
from lrpilot.torch import LearnedLR, VectorTorchTask

SIZES = {"cpu": [1, 4, 16], "cuda": [1, 16, 64, 256, 1024]}
#: Steps of an interval, intervals that are timed, and optimizer steps of each timing of LearnedLR.
INTERVAL, INTERVALS = 20, 5
LOOP = {"cpu": 100, "cuda": 500}
REPEATS = 7


def timed(work: Callable[[], object], device: str) -> float:
    """Seconds; what was queued on the device before and within is waited for."""
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 10))


def copies(count: int, device: str) -> dict[str, object]:
    """Steps of environments (intervals) in a second."""
    generator = torch.Generator().manual_seed(0)
    data = torch.randn(1_250, 64, generator=generator), torch.randint(0, 10, (1_250,), generator=generator)
    task = VectorTorchTask(
        perceptron,
        data,
        nn.functional.cross_entropy,
        copies=count,
        batch_size=50,
        interval_steps=INTERVAL,
        device=device,
    )
    task.reset(list(range(count)))
    rates = [Hyperparameters(0.01)] * count
    task.advance(rates)
    seconds = timed(lambda: [task.advance(rates) for _ in range(INTERVALS)], device)
    memory = torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else None
    return {"copies": count, "env_steps_per_s": round(count * INTERVALS / seconds, 1), "peak_mib": memory}


def overhead(width: int, device: str) -> dict[str, object]:
    """Time of an optimizer step with a constant learning rate, and with LearnedLR, in turns."""
    x, y = torch.randn(256, width, device=device), torch.randn(256, 1, device=device)
    steps = LOOP[device]

    def loop(learned: bool) -> Callable[[], None]:
        model = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1)).to(device)
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
        schedule = LearnedLR(optimizer, total_steps=(REPEATS + 1) * steps, bounds=(1e-6, 1e-2)) if learned else None

        def run() -> None:
            for _ in range(steps):
                optimizer.zero_grad()
                loss = nn.functional.mse_loss(model(x), y)
                loss.backward()
                if schedule is not None:
                    schedule.observe(loss)
                optimizer.step()

        return run

    plain, learned = loop(learned=False), loop(learned=True)
    plain(), learned()
    pairs = [(timed(plain, device), timed(learned, device)) for _ in range(REPEATS)]
    added = [1e6 * (b - a) / steps for a, b in pairs]
    return {
        "width": width,
        "step_us": round(1e6 * statistics.median(a for a, _ in pairs) / steps, 1),
        "added_us": round(statistics.median(added), 1),
        "added_us_range": [round(min(added), 1), round(max(added), 1)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=sorted(SIZES), default="cuda")
    device = parser.parse_args().device
    if device == "cuda" and not torch.cuda.is_available():
        parser.error("there is no GPU here; give --device cpu")
    name = torch.cuda.get_device_name() if device == "cuda" else f"cpu, {torch.get_num_threads()} threads"
    print(json.dumps({"device": name, "torch": torch.__version__}))
    for count in SIZES[device]:
        print(json.dumps(copies(count, device)), flush=True)
    for width in (64, 1024) if device == "cuda" else (64,):
        print(json.dumps(overhead(width, device)), flush=True)


if __name__ == "__main__":
    main()

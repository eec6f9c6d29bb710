"""The comparison in plain PyTorch: it resumes, and its tables say what the rows say."""

import json
import math
import pathlib
import sys
from itertools import pairwise

import pytest
import torch

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "bench"))

import proof
from proof_tasks import TASKS, Batches


def row(task, method, lr, seed, test, policy=None):
    of_policy = {} if policy is None else {"policy": policy}
    return {
        "task": task,
        "method": method,
        "lr": lr,
        "seed": seed,
        "val": test,
        "test": test,
        "untrained": 3.0,
        **of_policy,
    }


def rows_of(task, losses):
    """Rows where tuned and default losses are those given; the best learning rate is the 13th."""
    rates = proof.grid(task)
    for method, (tuned, default) in losses.items():
        for i, lr in enumerate(rates):
            yield row(task.name, method, lr, proof.TUNING_SEED, 1.0 + abs(i - 12))
        for seed in proof.SEEDS:
            yield row(task.name, method, rates[12], seed, tuned * (1.0 + 0.1 * seed))
            yield row(task.name, method, None, seed, default)


def test_the_tables_show_ratios_to_the_best_tuned_method_by_seed():
    rows = list(rows_of(TASKS[0], {"constant": (0.5, None), "cosine": (0.4, 1.0), "one-cycle": (0.6, 1.0)}))
    rows += [row(TASKS[0].name, "learned", None, seed, 0.44 * (1.0 + 0.1 * seed), "p") for seed in proof.SEEDS]
    rows += [row(TASKS[0].name, "learned", None, seed, 9.0, "another") for seed in proof.SEEDS]
    lines = [line for line in proof.tables(rows, "p") if line.startswith("|")]
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    rate = f"{proof.grid(TASKS[0])[12]:.2g}"
    assert table[2][:3] == [TASKS[0].name, "1.100 [1.100, 1.100]", "0.528"], (
        "the mean of the others and no spread of ratios"
    )
    assert table[2][3:6] == [f"0.6 ({rate})", f"0.48 ({rate})", f"0.72 ({rate})"]
    assert table[2][6:] == ["3", "1", "1"], "what is not finite counts as the untrained network"
    assert ["constant, tuned", "1.250 [1.250, 1.250]", "1.250", "1.250"] in table
    assert TASKS[0].name not in "".join(proof.tables(rows, "nobody")), "what is not complete is left out"


def test_the_interval_is_that_of_students_test():
    logs = [math.log(x) for x in (1.0, 1.1, 1.2, 1.3, 1.4)]
    mean = sum(logs) / 5
    half = 2.776 * math.sqrt(sum((x - mean) ** 2 for x in logs) / 4 / 5)
    assert proof.interval(logs) == f"{math.exp(mean):.3f} [{math.exp(mean - half):.3f}, {math.exp(mean + half):.3f}]"


def test_a_killed_run_goes_on_where_it_was(tmp_path):
    file, made = tmp_path / "rows.jsonl", []

    def get(results, seed):
        what = {"task": "t", "method": "cosine", "lr": 0.1, "seed": seed}
        return results.get(what, lambda: made.append(seed) or {"val": 1.0, "test": float(seed), "untrained": 3.0})

    results = proof.Results(file)
    whole = [get(results, seed) for seed in range(3)]
    file.write_bytes(file.read_bytes()[:-7])
    resumed = proof.Results(file)
    assert [get(resumed, seed) for seed in range(3)] == whole and made == [0, 1, 2, 2]
    assert [json.loads(line) for line in file.read_text().splitlines()] == whole


@pytest.mark.parametrize("method", ["constant", "one-cycle", "learned"])
def test_trainings_are_repeatable_and_methods_have_the_same_start(policy, method):
    (task,) = [task for task in TASKS if task.epochs is None]
    first, second = (proof.train(task, task.data(), method, None, 3, policy) for _ in range(2))
    assert first == second and first["test"] < 0.9 * first["untrained"]
    assert first["untrained"] == proof.train(task, task.data(), "cosine", None, 3, policy)["untrained"]


def test_the_grid_is_even_over_five_decades():
    for task in TASKS:
        rates = proof.grid(task)
        assert len(rates) == 20 and rates[-1] / rates[0] == pytest.approx(1e5)
        assert max(b / a for a, b in pairwise(rates)) == pytest.approx(10 ** (5 / 19), rel=1e-3)


def test_batches_are_a_loader_in_the_schedules_eyes():
    x = torch.arange(10.0)
    batches = Batches((x, x), 4, 0)
    assert len(batches) == 3 and len(batches.dataset) == 10 and batches.batch_size == 4
    assert sorted(torch.cat([each for each, _ in batches]).tolist()) == x.tolist()


def test_the_page_of_results_is_that_of_the_rows():
    rows, policy = proof.read(proof.RESULTS), proof.identity_of("pretrained")
    if all(row.get("policy") != policy for row in rows):
        pytest.skip(f"no trainings with the policy {policy} yet: python/bench/proof.py run")
    assert "\n".join(proof.tables(rows, policy)) + "\n" == proof.RESULTS.with_suffix(".md").read_text()

"""Two processes on one machine, each with losses of its own."""

import multiprocessing
import tempfile

import pytest
import torch
import torch.distributed as dist
from conftest import Problem

from lrpilot.torch import LearnedLR


def work(rank, place, policy, mode, results):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{place}", rank=rank, world_size=2)
    problem = Problem()
    optimizer = torch.optim.SGD(problem.model.parameters(), momentum=0.9)
    schedule = LearnedLR(
        optimizer, policy=policy, sync=mode != "apart", **({"total": 6} if mode != "free" else {"total_steps": 36})
    )
    generator = torch.Generator().manual_seed(rank)
    for _ in range(6):
        for _ in range(6):
            batch = torch.randint(0, 48, (8,), generator=generator)
            optimizer.zero_grad()
            loss = problem.loss(batch)
            loss.backward()
            for parameter in problem.model.parameters():  # what DistributedDataParallel does
                dist.all_reduce(parameter.grad)
                parameter.grad /= 2
            schedule.observe(loss)
            optimizer.step()
        for _ in range(2):  # as a scheduler that Accelerate prepared is called
            schedule.step(problem.val_loss() + rank)
    weights = torch.nn.utils.parameters_to_vector(problem.model.parameters()).detach().numpy().tobytes()
    results.put((rank, weights, schedule.extract(), schedule.history))
    dist.destroy_process_group()


def run(policy, mode):
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    with tempfile.TemporaryDirectory() as folder:
        arguments = (f"{folder}/store", policy, mode, results)
        processes = [context.Process(target=work, args=(rank, *arguments)) for rank in range(2)]
        for process in processes:
            process.start()
        found = sorted(results.get(timeout=240) for _ in processes)
        for process in processes:
            process.join()
    return [each[1:] for each in found]


@pytest.mark.parametrize("mode", ["epochs", "free"])
def test_processes_agree_to_the_bit(policy, mode):
    first, second = run(policy, mode)
    assert first == second
    if mode == "epochs":
        assert len(first[2]) == 6


def test_without_agreement_they_drift_apart(policy):
    first, second = run(policy, "apart")
    assert first[1] != second[1], "or the test above could not fail"

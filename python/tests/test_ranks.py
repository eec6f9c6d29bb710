"""Two processes on one machine, each with losses of its own."""

import multiprocessing

import pytest
import torch
import torch.distributed as dist
from conftest import Problem

from lrpilot import _tensors
from lrpilot.torch import LearnedLR

MODES = {
    "epochs": {"total": 6},
    "own moments": {"total_steps": 36},
    "apart": {"total": 6, "sync": False},
}


def train(rank, policy, mode):
    problem = Problem()
    optimizer = torch.optim.SGD(problem.model.parameters(), momentum=0.9)
    schedule = LearnedLR(optimizer, policy=policy, **MODES[mode])
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
    weights = torch.nn.utils.parameters_to_vector(problem.model.parameters()).tolist()
    return weights, schedule.extract(), schedule.history


def sharded_norm():
    """The norm of a tensor of which each process holds a half, as FSDP leaves it."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    whole = torch.arange(8.0).reshape(4, 2)
    return _tensors.weight_norms([[distribute_tensor(whole, init_device_mesh("cpu", (2,)), [Shard(0)])]])


def work(rank, store, policy, results):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    results.put((rank, {mode: train(rank, policy, mode) for mode in MODES}, sharded_norm()))
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(policy, tmp_path_factory):
    context = multiprocessing.get_context("spawn")
    results, store = context.Queue(), tmp_path_factory.mktemp("ranks") / "store"
    processes = [context.Process(target=work, args=(rank, store, policy, results)) for rank in range(2)]
    for process in processes:
        process.start()
    found = sorted((results.get(timeout=300) for _ in processes), key=lambda each: each[0])
    for process in processes:
        process.join()
    return found


@pytest.mark.parametrize("mode", ["epochs", "own moments"])
def test_processes_agree_to_the_bit(ranks, mode):
    first, second = (each[1][mode] for each in ranks)
    assert first == second
    assert mode != "epochs" or len(first[2]) == 6, "one decision an epoch, though step was called twice"


def test_the_metric_is_the_mean(ranks):
    weights, _, history = ranks[0][1]["epochs"]
    problem = Problem()
    torch.nn.utils.vector_to_parameters(torch.tensor(weights), problem.model.parameters())
    assert history[-1]["val_loss"] == pytest.approx(problem.val_loss() + 0.5, rel=1e-6)


def test_without_agreement_they_drift_apart(ranks):
    first, second = (each[1]["apart"] for each in ranks)
    assert first[1] != second[1], "or the test above could not fail"


def test_norms_of_sharded_tensors_are_those_of_the_whole(ranks):
    assert ranks[0][2] == ranks[1][2] == pytest.approx([140.0**0.5])

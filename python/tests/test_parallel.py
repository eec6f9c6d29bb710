"""PyTorch's own parallel training, with losses that differ from process to process."""

import math
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist
from conftest import Problem
from processes import in_two
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from lrpilot.torch import Guard, LearnedLR

DECISIONS = 5


def wrapped(problem, kind):
    if kind == "DDP":
        problem.model = DistributedDataParallel(problem.model)
        return problem
    mesh = init_device_mesh("cpu", (2,))
    for layer in (problem.model[0], problem.model[2], problem.model):
        fully_shard(layer, mesh=mesh)
    return problem


def step(rank, problem, optimizer, i):
    """The two halves of a batch of 16, one for each process, and the norm before clipping."""
    begin = 16 * (i % 3) + 8 * rank
    optimizer.zero_grad()
    loss = problem.loss(slice(begin, begin + 8))
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(problem.model.parameters(), 0.05)
    return loss, norm


def weights(problem):
    whole = [p.full_tensor() if hasattr(p, "full_tensor") else p for p in problem.model.parameters()]
    return torch.nn.utils.parameters_to_vector(whole).tolist()


def scheduled(rank, kind, policy):
    problem = wrapped(Problem(), kind)
    optimizer = torch.optim.SGD(problem.model.parameters(), momentum=0.9)
    schedule = LearnedLR(optimizer, total=DECISIONS, total_steps=3 * DECISIONS, policy=policy)
    for _ in range(DECISIONS):
        for i in range(3):
            schedule.observe(*step(rank, problem, optimizer, i))
            optimizer.step()
        schedule.step(problem.val_loss() + rank)
    return weights(problem), schedule.extract(), schedule.history


def guarded(rank, kind, log):
    """The second process meets a loss that is not a number; both go back."""
    problem = wrapped(Problem(), kind)
    optimizer = torch.optim.SGD(problem.model.parameters(), lr=0.1, momentum=0.9)
    guard, kept = Guard(problem.model, optimizer, every=4, log=f"{log}.{kind}"), []
    for i in range(10):
        loss, norm = step(rank, problem, optimizer, i)
        optimizer.step()
        guard.step(loss * math.nan if (rank, i) == (1, 9) else loss, norm)
        kept.append(weights(problem))
    return kept[7], kept[9], guard.history


def alone(rank, policy):
    """Only the first process calls `step`: what it is told in the end."""
    problem = Problem()
    optimizer = torch.optim.SGD(problem.model.parameters())
    schedule = LearnedLR(optimizer, total=DECISIONS, policy=policy)
    problem.step(optimizer, 0)
    store = dist.distributed_c10d._get_default_store()
    dist.distributed_c10d._set_pg_timeout(timedelta(seconds=2))
    if rank == 1:
        store.wait(["told"])
        return None
    try:
        schedule.step(1.0)
    except RuntimeError as error:
        return str(error)
    finally:
        store.set("told", "")


def work(rank, policy, log):
    kinds = ["DDP", "FSDP2"]
    learned = {kind: scheduled(rank, kind, policy) for kind in kinds}
    return learned, {kind: guarded(rank, kind, log) for kind in kinds}, alone(rank, policy)


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return tmp_path_factory.mktemp("parallel") / "log"


@pytest.fixture(scope="module")
def ranks(policy, log):
    return in_two(work, log.parent, policy, str(log))


@pytest.mark.parametrize("kind", ["DDP", "FSDP2"])
def test_weights_are_equal_to_the_bit_after_five_decisions(ranks, kind):
    first, second = (rank[0][kind] for rank in ranks)
    assert first == second
    assert len(first[2]) == DECISIONS and len(set(first[1])) == 3 * DECISIONS


def test_sharded_training_gets_the_same_learning_rates(ranks):
    learned = ranks[0][0]
    assert learned["FSDP2"][1] == pytest.approx(learned["DDP"][1], rel=1e-4)
    for ours, theirs in zip(learned["FSDP2"][2], learned["DDP"][2], strict=True):
        assert (
            ours["gradient_norm"] == pytest.approx(theirs["gradient_norm"], rel=1e-4) and ours["gradient_norm"] > 0.06
        )


@pytest.mark.parametrize("kind", ["DDP", "FSDP2"])
def test_a_guard_rolls_all_processes_back(ranks, kind, log):
    (kept, last, history), (*others, _) = (rank[1][kind] for rank in ranks)
    assert kept == last == others[0] == others[1]
    assert [(event["kind"], event["snapshot_step"]) for event in history] == [("roll-back", 8)]
    assert len((log.parent / f"log.{kind}").read_text().splitlines()) == 1, "the first process writes"


def test_a_process_that_calls_alone_is_told_why_it_waited(ranks):
    assert "every process has to make the same calls, not only the main one" in ranks[0][2]

"""Two processes on one machine, as a distributed run has them."""

import multiprocessing
import os
import traceback

import torch
import torch.distributed as dist


def in_two(function, folder, *arguments):
    """What `function(rank, *arguments)` returns in each of two processes that are joined by gloo, the first one's first.

    What one of them raises is raised here, with its traceback as the message.
    """
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    rest = (function, str(folder / "store"), results, *arguments)
    processes = [context.Process(target=_work, args=(rank, *rest)) for rank in range(2)]
    for process in processes:
        process.start()
    found = {}
    try:
        while len(found) < len(processes):
            rank, returned, error = results.get(timeout=300)
            if error is not None:
                raise RuntimeError(f"process {rank}: {error}")
            found[rank] = returned
    except BaseException:
        for process in processes:
            process.kill()
        raise
    for process in processes:
        process.join()
    return [found[0], found[1]]


def _work(rank, function, store, results, *arguments):
    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT="0")
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    try:
        results.put((rank, function(rank, *arguments), None))
    except Exception:  # noqa: BLE001 -- whatever it is, the test shows it
        results.put((rank, None, traceback.format_exc()))
    results.close()
    results.join_thread()
    dist.destroy_process_group()

"""`lrpilot.ray` on two nodes, one of which is killed in the middle: the result is the same."""

import contextlib
import os
import pathlib
import sys
import threading
import time

import pytest

ray = pytest.importorskip("ray", reason="Ray is not installed")

from ray.cluster_utils import Cluster

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import test_ray
from test_ray import folder, whole  # noqa: F401  (fixtures)
from test_ray_learn import Bowl, hang, learned, learned_here

# Workers do not find the tests: they are sent what they need of them.
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])

NODE = {"num_cpus": 1, "object_store_memory": 100 * 1024 * 1024}


class OnNode:
    """Hangs in the processes of one node, for good; the others wait until work has come there."""

    def __init__(self, raylet, folder):
        self.raylet, self.reached = str(raylet), folder / "reached"

    def __call__(self, bowl):
        if os.environ["RAY_RAYLET_PID"] == self.raylet:
            self.reached.touch()
            hang()
        while not self.reached.exists():
            time.sleep(0.01)


@contextlib.contextmanager
def meanwhile(path, what):
    """Does `what` as soon as `path` is there, while the body runs; the body has to bring it about."""

    def wait():
        while not path.exists() and not ended.is_set():
            time.sleep(0.05)
        if path.exists():
            what()

    ended = threading.Event()
    thread = threading.Thread(target=wait)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    assert path.exists()


@pytest.fixture(scope="module")
def head():
    cluster = Cluster(initialize_head=True, head_node_args=NODE)
    ray.init(address=cluster.address, log_to_driver=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture
def node(head):
    """A second node: its raylet's process id, and how to kill it with all that runs on it."""
    node = head.add_node(**NODE)
    return node.all_processes["raylet"][0].process.pid, lambda: head.remove_node(node, allow_graceful=False)


def test_learning_survives_a_killed_node(node, tmp_path):
    raylet, kill = node
    with meanwhile(tmp_path / "reached", kill):
        policy = learned(Bowl(OnNode(raylet, tmp_path)))
    assert policy == learned_here()


@pytest.mark.skipif(test_ray.PROGRAM is None, reason="the program is not built: cargo build --bin lrpilot")
def test_a_comparison_survives_a_killed_node(node, whole, folder):  # noqa: F811
    raylet, kill = node
    there = f'touch "{folder}/reached"; exec sleep 600'
    elsewhere = f'while [ ! -e "{folder}/reached" ]; do sleep 0.01; done'
    line = f'case "$RAY_RAYLET_PID $*" in "{raylet} "*--index*) {there};; *--index*) {elsewhere};; esac'
    with meanwhile(folder / "reached", kill):
        test_ray.compare(program=test_ray.program_that(folder, line))
    test_ray.assert_same(folder / "run", whole / "run")

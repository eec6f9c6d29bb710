"""`lrpilot.ray` on two nodes, one of which is killed, or cut off the network, in the middle: the result is the same."""

import contextlib
import os
import pathlib
import sys
import threading
import time

import pytest

ray = pytest.importorskip("ray", reason="Ray is not installed")

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from ray_cluster import NODE
from test_ray import PROGRAM, assert_same, compare, folder, program_that, whole  # noqa: F401  (fixtures among them)
from test_ray_learn import Bowl, hang, learned, learned_here

# Workers do not find the tests: they are sent what they need of them.
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])

#: One task for each node.
WHOLE_NODE = {"cpus": NODE["num_cpus"]}


class OnNode:
    """Hangs in the processes of one node, for good; the others wait until work has come there."""

    def __init__(self, raylet, reached):
        self.raylet, self.reached = str(raylet), reached

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


def test_learning_survives_a_killed_node(node, tmp_path):
    (raylet, kill), reached = node, tmp_path / "reached"
    with meanwhile(reached, kill):
        policy = learned(Bowl(OnNode(raylet, reached)), **WHOLE_NODE)
    assert policy == learned_here()


def test_learning_survives_a_cut_link(far_node, tmp_path):
    # Ray itself would wait for minutes for a worker that it cannot reach.
    (raylet, cut), reached = far_node, tmp_path / "reached"
    with meanwhile(reached, cut):
        policy = learned(Bowl(OnNode(raylet, reached)), deadline=8.0, **WHOLE_NODE)
    assert policy == learned_here()


@pytest.mark.skipif(PROGRAM is None, reason="the program is not built: cargo build --bin lrpilot")
def test_a_comparison_survives_a_killed_node(node, whole, folder):  # noqa: F811
    raylet, kill = node
    reached = folder / "reached"
    there, elsewhere = f'touch "{reached}"; exec sleep 600', f'while [ ! -e "{reached}" ]; do sleep 0.01; done'
    line = f'case "$RAY_RAYLET_PID $*" in "{raylet} "*--index*) {there};; *--index*) {elsewhere};; esac'
    with meanwhile(reached, kill):
        compare(program=program_that(folder, line), **WHOLE_NODE)
    assert_same(folder / "run", whole / "run")

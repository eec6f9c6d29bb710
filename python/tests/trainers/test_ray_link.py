"""`lrpilot.ray` on two nodes, the link between which is cut in the middle: the result is the same."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

ray = pytest.importorskip("ray", reason="Ray is not installed")

from ray.cluster_utils import Cluster

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from test_ray_learn import Bowl, learned, learned_here
from test_ray_nodes import NODE, OnNode, meanwhile


@pytest.fixture
def link():
    """A network namespace at the other end of a link: its name, its address, and ours."""
    name, here, there = f"lrp{os.getpid()}", f"lrpa{os.getpid()}", f"lrpb{os.getpid()}"
    setup = [
        f"netns add {name}",
        f"link add {here} type veth peer name {there} netns {name}",
        f"addr add 10.213.77.1/30 dev {here}",
        f"link set {here} up",
        f"-n {name} addr add 10.213.77.2/30 dev {there}",
        f"-n {name} link set {there} up",
        f"-n {name} link set lo up",
    ]
    try:
        for words in setup:
            ip(words)
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        with contextlib.suppress(FileNotFoundError, subprocess.CalledProcessError):
            ip(f"netns del {name}")
        pytest.skip(f"this machine gives no network namespace: {getattr(error, 'stderr', None) or error}")
    yield name, "10.213.77.2", "10.213.77.1"
    for pid in ip(f"netns pids {name}").split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    ip(f"netns del {name}")
    with contextlib.suppress(subprocess.CalledProcessError):
        ip(f"link del {here}")


def ip(words):
    return subprocess.run(["ip", *words.split()], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def far(link):
    """A cluster of this machine and of a node at the other end of the link: that node's raylet."""
    name, address, head_address = link
    # A node that does not answer is given up after two seconds.
    health = {"initial_delay_ms": 0, "period_ms": 500, "timeout_ms": 1000, "failure_threshold": 3}
    settings = {f"health_check_{key}": value for key, value in health.items()}
    head = Cluster(initialize_head=True, head_node_args={**NODE, "node_ip_address": head_address, "_system_config": settings})
    words = f"--address {head.address} --node-ip-address {address} --num-cpus 1 --object-store-memory {NODE['object_store_memory']}"
    start = ["ip", "netns", "exec", name, sys.executable, "-m", "ray.scripts.scripts", "start", *words.split()]
    subprocess.run(start, check=True, capture_output=True)
    ray.init(address=head.address, log_to_driver=False, _node_ip_address=head_address)
    while sum(node["Alive"] for node in ray.nodes()) < 2:
        time.sleep(0.05)
    (raylet,) = [pid for pid in ip(f"netns pids {name}").split() if pathlib.Path(f"/proc/{pid}/comm").read_text() == "raylet\n"]
    yield raylet
    ray.shutdown()
    head.shutdown()


def test_learning_survives_a_cut_link(link, far, tmp_path):
    name, _, _ = link
    with meanwhile(tmp_path / "reached", lambda: ip(f"-n {name} link set dev lrpb{os.getpid()} down")):
        policy = learned(Bowl(OnNode(far, tmp_path)), deadline=10.0)
    assert policy == learned_here()

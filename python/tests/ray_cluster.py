"""A cluster of Ray for all tests that need one, since it takes long to start."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

#: What each node of the cluster is given.
NODE = {"num_cpus": 4, "object_store_memory": 100 * 1024 * 1024}


@pytest.fixture(scope="session")
def cluster(link):
    """A head node of four processors, to which nodes can be added. The tests are its driver."""
    import ray
    from ray.cluster_utils import Cluster

    # A node that does not answer is given up after some seconds, but not one that is slow.
    health = {"initial_delay_ms": 0, "period_ms": 1000, "timeout_ms": 3000, "failure_threshold": 5}
    settings = {"_system_config": {f"health_check_{key}": value for key, value in health.items()}}
    address = {"node_ip_address": link.here} if isinstance(link, Link) else {}
    head = Cluster(initialize_head=True, head_node_args={**NODE, **settings, **address})
    ray.init(address=head.address, log_to_driver=False, **{f"_{key}": value for key, value in address.items()})
    yield head
    ray.shutdown()
    head.shutdown()


@pytest.fixture
def node(cluster):
    """A second node for a test: its raylet's process id, and how to kill it with all that runs on it."""
    node = cluster.add_node(**NODE)
    yield node.all_processes["raylet"][0].process.pid, lambda: cluster.remove_node(node, allow_graceful=False)
    if node in cluster.worker_nodes:
        cluster.remove_node(node)


class Link:
    """A network namespace at the other end of a link."""

    here, there = "10.213.77.1", "10.213.77.2"

    def __init__(self):
        self.name, self.device, far = (f"lrp{end}{os.getpid()}" for end in "nab")
        try:
            ip(f"netns add {self.name}")
            ip(f"link add {self.device} type veth peer name {far} netns {self.name}")
            ip(f"addr add {self.here}/30 dev {self.device}")
            ip(f"-n {self.name} addr add {self.there}/30 dev {far}")
            ip(f"-n {self.name} link set lo up")
            ip(f"-n {self.name} link set {far} up")
            ip(f"link set {self.device} up")
        except subprocess.CalledProcessError:
            self.remove()
            raise

    def pids(self):
        return [int(pid) for pid in ip(f"netns pids {self.name}").split()]

    def cut(self):
        # The other end, since the cluster's head keeps the address of this one.
        ip(f"-n {self.name} link set {self.device.replace('lrpa', 'lrpb')} down")

    def remove(self):
        """End what runs there, too."""
        with contextlib.suppress(subprocess.CalledProcessError):
            for pid in self.pids():
                os.kill(pid, signal.SIGKILL)
            ip(f"link del {self.device}")
        with contextlib.suppress(subprocess.CalledProcessError):
            ip(f"netns del {self.name}")


def ip(words):
    return subprocess.run(["ip", *words.split()], check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="session")
def link():
    """A link, or why this machine gives none."""
    try:
        link = Link()
    except FileNotFoundError:
        yield "there is no program ip"
    except subprocess.CalledProcessError as error:
        yield f"no network namespaces: {error.stderr.strip()}"
    else:
        yield link
        link.remove()


@pytest.fixture
def far_node(cluster, link):
    """A second node at the other end of the link: its raylet's process id, and how to cut the link."""
    import ray

    if not isinstance(link, Link):
        pytest.skip(link)
    start = ["ip", "netns", "exec", link.name, sys.executable, "-m", "ray.scripts.scripts", "start"]
    facts = {"address": cluster.address, "node-ip-address": link.there, "num-cpus": NODE["num_cpus"]}
    facts["object-store-memory"] = NODE["object_store_memory"]
    subprocess.run([*start, *(f"--{key}={value}" for key, value in facts.items())], check=True, capture_output=True)
    while not any(node["Alive"] and node["NodeManagerAddress"] == link.there for node in ray.nodes()):
        time.sleep(0.05)
    # A process that it starts has its name, too, for a moment.
    raylet = min(pid for pid in link.pids() if pathlib.Path(f"/proc/{pid}/comm").read_text() == "raylet\n")
    return raylet, link.cut

"""`lrpilot sweep export slurm` under Slurm itself, on this machine alone: a task that is killed and requeued goes on, and
the shares put together are the run of a single process.

    apt-get install slurm-wlm munge
    LRPILOT_PROGRAM=target/debug/lrpilot pytest tests/python/test_slurm.py
"""

import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time

import pytest

ROOT = pathlib.Path(__file__).parents[2]
PROGRAM = pathlib.Path(os.environ.get("LRPILOT_PROGRAM", ROOT / "target/debug/lrpilot")).absolute()
PATH = f"{os.environ['PATH']}:/usr/sbin"
DAEMONS = ["munged", "slurmctld", "slurmd"]
MISSING = [name for name in [*DAEMONS, "sbatch"] if shutil.which(name, path=PATH) is None]

pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=f"Slurm is not installed: no {', '.join(MISSING)}"),
    pytest.mark.skipif(os.geteuid() != 0, reason="the daemons of Slurm want to be started by root"),
    pytest.mark.skipif(
        not PROGRAM.exists(),
        reason=f"{PROGRAM} is not built: cargo build --bin lrpilot",
    ),
]

CONFIG = """\
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
AuthInfo=socket={folder}/munge.socket
SlurmUser=root
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs=2
PartitionName=all Nodes=ALL Default=YES
"""

SETTINGS = [
    "task.horizon=1",
    "learn.epochs=100",
    "learn.environments=1",
    "learn.candidates=1",
    "learn.selection_seeds=1",
]
COMPARE = [
    "compare",
    "policy/policy.safetensors",
    "--task",
    "noisy-quadratic",
    "--set",
    "task.horizon=600",
]
COMPARE += ["--budget", "60000", "--evaluation-seeds", "2", "--out", "run"]


@pytest.fixture
def slurm():
    """Runs a command where a cluster of this machine is the one that Slurm's commands know, and returns what it prints."""
    # The names of sockets are short, those of pytest's folders are not.
    with tempfile.TemporaryDirectory(prefix="slurm-") as name:
        folder = pathlib.Path(name)
        (folder / "munge.key").write_bytes(os.urandom(1024))
        (folder / "munge.key").chmod(0o600)
        for part in ["state", "spool", "bin"]:
            (folder / part).mkdir()
        (folder / "bin/lrpilot").symlink_to(PROGRAM)
        config = CONFIG.format(folder=folder, host=socket.gethostname().split(".")[0], ports=free_ports())
        (folder / "slurm.conf").write_text(config)
        env = {
            **os.environ,
            "SLURM_CONF": f"{folder}/slurm.conf",
            "PATH": f"{folder}/bin:{PATH}",
        }

        def run(*words):
            return subprocess.run(words, cwd=folder, env=env, check=True, capture_output=True, text=True).stdout

        names = {
            "key-file": "key",
            "socket": "socket",
            "pid-file": "pid",
            "log-file": "log",
            "seed-file": "seed",
        }
        munged = [f"--{option}={folder}/munge.{ending}" for option, ending in names.items()]
        daemons = [
            ["munged", "--foreground", "--force", *munged],
            ["slurmctld", "-D"],
            ["slurmd", "-D"],
        ]
        started = []
        try:
            for words in daemons:
                with (folder / f"{words[0]}.told").open("w") as told:
                    started.append(subprocess.Popen(words, env=env, stdout=told, stderr=told))
                wait_until(lambda: (folder / "munge.socket").exists())
            wait_until(lambda: "idle" in run("sh", "-c", "sinfo || true"))
            yield folder, run
        finally:
            for daemon in reversed(started):
                daemon.terminate()
                daemon.wait()


def free_ports():
    with socket.socket() as a, socket.socket() as b:
        a.bind(("127.0.0.1", 0))
        b.bind(("127.0.0.1", 0))
        return a.getsockname()[1], b.getsockname()[1]


def wait_until(reached):
    for _ in range(1200):
        if reached():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come that far in a minute")


def test_a_killed_task_is_requeued_and_goes_on(slurm):
    folder, run = slurm
    settings = [word for setting in [*SETTINGS, "ppo.n_steps=1"] for word in ("--set", setting)]
    run("lrpilot", "learn", "noisy-quadratic", "--out", "policy", *settings)
    run("lrpilot", *COMPARE)
    (folder / "run").rename(folder / "whole")
    script = run("lrpilot", "sweep", "export", "slurm", "--workers", "2", "--", *COMPARE)
    (folder / "job.sh").write_text(script)
    job = run("sbatch", "--parsable", "job.sh").strip()

    def done(share):
        results = folder / f"run-shares/{share}/results.jsonl"
        return len(results.read_text().splitlines()) if results.exists() else 0

    wait_until(lambda: done(1) >= 3)
    run("scancel", "--batch", "--signal=KILL", f"{job}_1")
    wait_until(lambda: "JobState=FAILED" in run("scontrol", "show", "job", f"{job}_1"))
    before = done(1)
    run("scontrol", "requeue", f"{job}_1")
    # Slurm would wait for two minutes.
    run("scontrol", "update", f"JobId={job}_1", "StartTime=now")
    wait_until(lambda: run("squeue", "--noheader") == "")
    assert 3 <= before < done(1), "the task was not killed in the midst of its work"
    merge = next(line for line in script.splitlines() if "lrpilot runs merge" in line)
    run("sh", "-c", merge.removeprefix("#"))
    for name in [
        "config.toml",
        "results.jsonl",
        "comparison.json",
        "comparison.csv",
        "report.html",
    ]:
        assert (folder / "run" / name).read_bytes() == (folder / "whole" / name).read_bytes(), name

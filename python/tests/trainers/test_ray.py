"""`lrpilot.ray`: comparison and suite on a cluster of one machine have the bits of a single process, whoever is killed."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest

ray = pytest.importorskip("ray", reason="Ray is not installed")

import lrpilot.ray

ROOT = pathlib.Path(__file__).parents[3]
BUILT = ROOT / "target/debug/lrpilot"
PROGRAM = os.environ.get("LRPILOT_PROGRAM") or shutil.which("lrpilot") or (str(BUILT) if BUILT.exists() else None)
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="the program is not built: cargo build --bin lrpilot")

SMALL = ["task.horizon=1", "learn.epochs=100", "learn.environments=1", "learn.candidates=1", "learn.selection_seeds=1"]
SMALL = [word for setting in [*SMALL, "ppo.n_steps=1"] for word in ("--set", setting)]
OPTIONS = ["--set", "task.horizon=1", "--evaluation-seeds", "2"]
POLICY = "policy/policy.safetensors"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder with a policy and the run of a single process, which is called `run` while it works."""
    folder = tmp_path_factory.mktemp("whole")
    lrpilot_program(folder, "learn", "noisy-quadratic", "--out", "policy", *SMALL)
    lrpilot_program(folder, "compare", POLICY, "--task", "noisy-quadratic", *OPTIONS, "--out", "run")
    return folder


@pytest.fixture
def folder(whole, tmp_path, monkeypatch):
    """A working directory with the policy alone."""
    shutil.copytree(whole / "policy", tmp_path / "policy")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def lrpilot_program(folder, *words):
    subprocess.run([PROGRAM, *words], cwd=folder, check=True, capture_output=True)


def compare(**settings):
    settings = {"shares": 3, "program": PROGRAM, "options": OPTIONS, **settings}
    return lrpilot.ray.compare(POLICY, task="noisy-quadratic", out="run", **settings)


def assert_same(run, whole):
    """Every file but the lock, which names a process, run.json, which names the working directory, and what has a date."""
    names = {path.name for path in whole.iterdir()} - {"lock", "run.json"}
    assert {path.name for path in run.iterdir()} - {"lock", "run.json"} == names
    for name in names - {"reference.json"}:
        assert (run / name).read_bytes() == (whole / name).read_bytes(), name


def program_that(folder, line):
    """The program behind a line of shell."""
    path = folder / "program"
    path.write_text(f'#!/bin/sh\n{line}\nexec {PROGRAM} "$@"\n')
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("cpus", [1, 4])
def test_the_bits_of_a_single_process(cluster, whole, folder, cpus):
    # Tasks of four processors run one after the other here, those of one side by side.
    comparison = compare(cpus=cpus)
    assert comparison["task"] == "noisy-quadratic"
    assert_same(folder / "run", whole / "run")
    assert compare(cpus=cpus) == comparison


def test_the_suite_has_the_bits_of_a_single_process(cluster, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "tests/fixtures/suite/tiny.toml", tmp_path)
    options = ["--baselines", "--tasks", "1", "--seeds", "2", "--suite", "tiny.toml"]
    lrpilot_program(tmp_path, "suite", "run", *options, "--out", "run")
    whole = (tmp_path / "run").rename(tmp_path / "whole")
    told = lrpilot.ray.suite(out="run", options=options, shares=3, program=PROGRAM)
    assert (told["suite"], told["seeds"]) == ("tiny", 2)
    assert_same(tmp_path / "run", whole)
    numbers = [json.loads((path / "reference.json").read_text())["tasks"] for path in (tmp_path / "run", whole)]
    assert numbers[0] == numbers[1]


def test_killed_workers_are_replaced(cluster, whole, folder):
    # The first attempt of shares 0 and 2 kills the worker that waits for it.
    line = f'case "$*" in *"--index 1"*) ;; *--index*) mkdir "{folder}/killed-${{12}}" && kill -9 $PPID;; esac'
    compare(program=program_that(folder, line))
    assert len(list(folder.glob("killed-*"))) == 2
    assert_same(folder / "run", whole / "run")


def test_a_poisonous_share_ends_with_its_error_and_what_was_kept_is_not_done_again(cluster, whole, folder):
    line = 'case "$*" in *"--index 2"*) echo x >> "$0.tries"; echo "error: no luck" >&2; exit 65;; esac'
    with pytest.raises(RuntimeError, match=r"share 2 failed 3 times, at last with: .*no luck"):
        compare(program=program_that(folder, line))
    assert (folder / "program.tries").read_text() == "x\n" * 3
    # How many have ended before the third try is a matter of speed.
    kept = {path.name for path in (folder / "run-shares").glob("*")}
    assert kept <= {"0", "1"}
    assert not (folder / "run").exists()
    line = "".join(f'case "$*" in *"--index {name}"*) exit 1;; esac\n' for name in kept)
    compare(program=program_that(folder, line))
    assert_same(folder / "run", whole / "run")


def test_a_share_past_its_deadline_is_done_again(cluster, whole, folder):
    line = f'case "$*" in *"--index 0"*) mkdir "{folder}/slow" && exec sleep 600;; esac'
    compare(program=program_that(folder, line), deadline=5.0)
    assert_same(folder / "run", whole / "run")


def test_a_killed_driver_goes_on(cluster, whole, folder):
    line = f'case "$*" in *"--index 2"*) mkdir "{folder}/late" && exec sleep 600;; esac'
    address = ray.get_runtime_context().gcs_address
    call = f"""
import lrpilot.ray, ray
ray.init(address={address!r}, log_to_driver=False)
lrpilot.ray.compare({POLICY!r}, task="noisy-quadratic", out="run", options={OPTIONS!r}, shares=3,
    program={program_that(folder, line)!r})
"""
    driver = subprocess.Popen([sys.executable, "-c", call])
    finished = [folder / "run-shares" / name for name in "01"]
    while not ((folder / "late").exists() and all(path.exists() for path in finished)):
        assert driver.poll() is None, "the driver ended before it could be killed"
        time.sleep(0.05)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    before = [(path / "results.jsonl").stat().st_mtime_ns for path in finished]
    compare()
    assert [(path / "results.jsonl").stat().st_mtime_ns for path in finished] == before
    assert_same(folder / "run", whole / "run")


def test_another_experiment_is_refused(cluster, folder):
    compare()
    with pytest.raises(lrpilot.ConfigError, match=r"run holds a run of .* give another `out`"):
        compare(options=[*OPTIONS, "--seed", "3"])
    with pytest.raises(lrpilot.ConfigError, match="shares: 0 is not above 0"):
        compare(shares=0)
    with pytest.raises(RuntimeError, match="/no/such/program is not there"):
        compare(program="/no/such/program")
    # The words are the same, the policy is not: neither the run nor its shares are taken for those of another one.
    lrpilot_program(folder, "learn", "noisy-quadratic", "--out", "other", "--seed", "9", *SMALL)
    shutil.copy(folder / "other/policy.safetensors", folder / POLICY)
    with pytest.raises(RuntimeError, match=r"policies \(sha256\) = "):
        compare()
    shutil.rmtree(folder / "run")
    with pytest.raises(RuntimeError, match=r"policies \(sha256\) = "):
        compare()

#!/usr/bin/env python3
"""Measure lrpilot and PyTorch with Stable-Baselines3 side by side on this machine: `python3 bench/versus_pytorch/run.py`.

Sets up its own virtual environment, builds the `throughput` example, measures both sides in turn and writes results.json,
results.md and chart.svg. Needs Python 3.11 or newer and a Rust toolchain; leave the machine otherwise idle.
"""

import argparse
import datetime
import itertools
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

import report

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# The name of each work and the unit of its rate.
WORKS = {
    "digits-mlp": "images/s",
    "mnist-mlp": "images/s",
    "mnist-cnn": "images/s",
    "cifar-cnn": "images/s",
    "resnet": "images/s",
    "learn-digits": "steps/s",
    "learn-mnist-mlp": "steps/s",
    "ppo-cartpole": "steps/s",
    "ppo-cartpole-8": "steps/s",
}
CONVOLUTIONAL = ("mnist-cnn", "cifar-cnn", "resnet")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="about 3 minutes: short, and without torch.compile")
    parser.add_argument("--only", nargs="+", choices=WORKS, metavar="WORK", help=f"some of: {' '.join(WORKS)}")
    parser.add_argument("--cores", type=int, default=2, help="cores that each side may use (default 2)")
    parser.add_argument("--repetitions", type=int, help="default 5, with --quick 2")
    parser.add_argument("--seconds", type=float, help="of one measurement; default 3, with --quick 0.5")
    parser.add_argument("--python", help="an interpreter that has requirements.txt, instead of a new environment")
    parser.add_argument("--output", type=pathlib.Path, default=HERE / "results", help="folder (default %(default)s)")
    args = parser.parse_args()
    args.repetitions = args.repetitions or (2 if args.quick else 5)
    args.seconds = args.seconds or (0.5 if args.quick else 3.0)
    args.only = args.only or list(WORKS)
    if args.cores < 1 or args.repetitions < 1 or args.seconds <= 0:
        parser.error("--cores, --repetitions and --seconds must be positive")
    return args


def set_up_python():
    """The interpreter of .venv, made anew when the requirements have changed."""
    requirements, venv = HERE / "requirements.txt", HERE / ".venv"
    stamp, python = venv / "installed.txt", venv / "bin" / "python"
    if not stamp.exists() or stamp.read_text() != requirements.read_text():
        print(f"installing {requirements.name} into {venv} (a large download)", flush=True)
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements]
        subprocess.run(pip, check=True)
        stamp.write_text(requirements.read_text())
    return str(python)


def build():
    """Build the example and return its path."""
    command = ["cargo", "build", "--release", "--example", "throughput", "--message-format=json-render-diagnostics"]
    output = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    messages = [json.loads(line) for line in output.splitlines()]
    return next(m["executable"] for m in messages if m.get("target", {}).get("name") == "throughput")


class Rust:
    """lrpilot: independent copies of the work, one on each core."""

    def __init__(self, executable, cores):
        self.executable, self.cores = executable, cores

    def run(self, work, seconds):
        command = [self.executable, work, "--seconds", str(seconds), "--threads", str(self.cores)]
        return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)

    def rate(self, work, seconds):
        line = self.run(work, seconds)
        rate = line["images_per_s"] if WORKS[work] == "images/s" else line["steps_per_s"]
        return rate, line["peak_rss_mib"], line


class Variant:
    """PyTorch, arranged in one way: some processes, which are prepared once and measured whenever wanted."""

    def __init__(self, python, work, processes, threads, *flags):
        plural = ["es" if processes > 1 else "", "s" if threads > 1 else ""]
        names = [f"{processes} process{plural[0]} × {threads} thread{plural[1]}", *flags]
        self.name = ", ".join(n.removeprefix("--").replace("compile", "torch.compile") for n in names)
        self.layout, self.flags = (processes, threads), flags
        script = HERE / ("training.py" if WORKS[work] == "images/s" else "learning.py")
        command = [python, script, work, "--threads", str(threads), *flags]
        # One thread compiles, or a pool of helpers would count as memory and compete for the cores.
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "TORCHINDUCTOR_COMPILE_THREADS": "1"}
        pipe = subprocess.PIPE
        # Warnings are of no interest, but the last line tells why a process ended without a message. Open until `stop`.
        self.complaints = tempfile.TemporaryFile("w+")  # noqa: SIM115
        streams = {"stdin": pipe, "stdout": pipe, "stderr": self.complaints}
        self.workers = [subprocess.Popen(command, text=True, env=environment, **streams) for _ in range(processes)]
        self.trial = None
        self.infos = [self.read(worker) for worker in self.workers]
        self.failed = next((i["failed"] for i in self.infos if "failed" in i), None)
        if self.failed:
            self.stop()

    def read(self, worker):
        line = worker.stdout.readline()
        if line:
            return json.loads(line)
        status = worker.wait()
        self.complaints.seek(0)
        last = self.complaints.read().strip().splitlines()[-1:] or ["no message"]
        return {"failed": f"exit status {status}: {last[0]}"}

    def rate(self, seconds):
        """The sum of the processes' rates and of their peak memory."""
        for worker in self.workers:
            print(seconds, file=worker.stdin, flush=True)
        answers = [self.read(worker) for worker in self.workers]
        failed = next((a["failed"] for a in answers if "failed" in a), None)
        if failed:
            raise SystemExit(f"{self.name}: {failed}")
        memory = [a["peak_rss_mib"] for a in answers]
        return sum(a["rate"] for a in answers), None if None in memory else sum(memory)

    def stop(self):
        for worker in self.workers:
            worker.stdin.close()
            worker.wait()
        self.complaints.close()


def variants(python, work, args):
    """Start all variants, try each, keep the fastest; returns those and the protocol of the trial."""
    layouts = {(1, args.cores), (args.cores, 1)}
    finalists, seconds = (1 if args.quick else 2), args.seconds / 3
    formats = [(), ("--channels-last",)] if work in CONVOLUTIONAL else [()]
    tried = []

    def attempt(layout, flags):
        variant = Variant(python, work, *layout, *flags)
        if variant.failed:
            print(f"  {variant.name}: left out: {variant.failed}", flush=True)
        else:
            variant.trial = variant.rate(seconds)[0]
            # A second chance, unless the variant is out of the question.
            if variant.trial > max((v.trial or 0) for v in [*tried, variant]) / 2:
                variant.trial = max(variant.trial, variant.rate(seconds)[0])
            print(f"  {variant.name}: {variant.trial:,.0f} in the trial", flush=True)
        tried.append(variant)

    for layout, flags in itertools.product(sorted(layouts), formats):
        attempt(layout, flags)
    able = [v for v in tried if not v.failed]
    # Compiling takes long: for the better layout only. Stable-Baselines3's own networks cannot be compiled from outside.
    if not args.quick and able and not work.startswith("ppo"):
        best = max(able, key=lambda v: v.trial)
        for flags in formats:
            attempt(best.layout, (*flags, "--compile"))
    able = sorted((v for v in tried if not v.failed), key=lambda v: -v.trial)
    for variant in able[finalists:]:
        variant.stop()
    if not able:
        raise SystemExit(f"{work}: PyTorch could not be measured: {tried[0].failed}")
    trials = [{"name": v.name, "rate": v.trial, "failed": v.failed} for v in tried]
    return able[:finalists], trials


def summary(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "values": values}


def measure(work, rust, python, args):
    """Both sides in turn on one work, in the opposite order every other time."""
    print(f"{work} ({WORKS[work]})", flush=True)
    start = time.monotonic()
    finalists, trials = variants(python, work, args)
    ours, theirs, peaks, memory, line = [], {v.name: [] for v in finalists}, [], {}, {}

    def our_turn():
        nonlocal line
        rate, memory["lrpilot"], line = rust.rate(work, args.seconds)
        ours.append(rate)
        peaks.append(rust.run("gemm", args.seconds / 3)["gflops"])

    def their_turn(variant):
        rate, memory[variant.name] = variant.rate(args.seconds)
        theirs[variant.name].append(rate)

    for repetition in range(args.repetitions):
        turns = [our_turn, *(lambda v=v: their_turn(v) for v in finalists)]
        for turn in turns if repetition % 2 == 0 else reversed(turns):
            turn()
    best = max(finalists, key=lambda v: statistics.median(theirs[v.name]))
    infos = best.infos
    for variant in finalists:
        variant.stop()
    if infos[0].get("parameters", line["parameters"]) != line["parameters"]:
        raise SystemExit(f"{work}: {line['parameters']} parameters here, {infos[0]['parameters']} in PyTorch")
    pairs = [a / b for a, b in zip(ours, theirs[best.name])]
    peak, flops = statistics.median(peaks), line["flops_per_image"]
    share = {
        side: rate * flops * 1e-9 / peak if flops else None
        for side, rate in (("lrpilot", statistics.median(ours)), ("pytorch", statistics.median(theirs[best.name])))
    }
    ratio = statistics.median(ours) / statistics.median(theirs[best.name])
    print(f"  {ratio:.2f} times {best.name}; {time.monotonic() - start:.0f} s", flush=True)
    return {
        "work": work,
        "unit": WORKS[work],
        "parameters": line["parameters"],
        "ratio": {**summary(pairs), "median": ratio},
        "lrpilot": {**summary(ours), "peak_rss_mib": memory["lrpilot"], "epochs_per_s": line["epochs_per_s"]},
        "pytorch": {
            **summary(theirs[best.name]),
            "variant": best.name,
            "peak_rss_mib": memory[best.name],
            "loaded_rss_mib": sum(i["loaded_rss_mib"] or 0 for i in infos),
            "trials": trials,
        },
        "gemm_gflops": summary(peaks),
        "gemm_share": share,
        "flops_per_image": flops,
        "versions": {k: v for k, v in infos[0].items() if k in ("torch", "stable_baselines3", "gymnasium")},
    }


def output_of(*command):
    try:
        return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def cpu_name():
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    flags = next((line for line in lines if line.startswith("flags")), "").split()
    vectors = [name for name in ("avx2", "avx512f") if name in flags]
    return " ".join([names[0] if names else platform.machine(), *vectors])


def main():
    args = arguments()
    start, load = time.monotonic(), os.getloadavg()[0]
    if load > 0.5:
        print(f"warning: the machine is busy (load {load:.1f}); the figures will be wrong", flush=True)
    rust = Rust(build(), args.cores)
    python = args.python or set_up_python()
    rows = [measure(work, rust, python, args) for work in args.only]
    versions = {k: v for row in rows for k, v in row.pop("versions").items()}
    results = {
        "ratios": {row["work"]: row["ratio"]["median"] for row in rows},
        "gemm_share": {r["work"]: r["gemm_share"]["lrpilot"] for r in rows if r["flops_per_image"]},
        "gemm_share_pytorch": {r["work"]: r["gemm_share"]["pytorch"] for r in rows if r["flops_per_image"]},
        "gemm_gflops": statistics.median(r["gemm_gflops"]["median"] for r in rows),
        "machine": {"cpu": cpu_name(), "cores": os.cpu_count(), "cores_used": args.cores, "load_before": load},
        "versions": {
            **versions,
            "python": output_of(python, "--version").removeprefix("Python "),
            "rustc": output_of("rustc", "--version").removeprefix("rustc "),
            "lrpilot": output_of("git", "describe", "--always", "--dirty"),
            "system": f"{platform.system()} {platform.release()}",
        },
        "settings": {"quick": args.quick, "repetitions": args.repetitions, "seconds": args.seconds},
        "date": datetime.date.today().isoformat(),
        "minutes": (time.monotonic() - start) / 60,
        "works": rows,
    }
    args.output.mkdir(parents=True, exist_ok=True)
    (args.output / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (args.output / "results.md").write_text(report.markdown(results))
    (args.output / "chart.svg").write_text(report.chart(results))
    print("\n" + report.markdown(results))


if __name__ == "__main__":
    main()

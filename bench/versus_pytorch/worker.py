"""The side of a measuring process: prepare once, then measure whenever the other side says so.

Protocol, a JSON object per line: first {"ready": true, ...} or {"failed": reason}; then for each number of seconds read
from standard input {"rate": ..., "peak_rss_mib": ...}. The end of the input ends the process.
"""

import json
import sys
import time

import torch


def repeat(seconds, piece):
    """Call `piece`, which returns how much it did, for about `seconds`; return the amount done per second."""
    start = time.perf_counter()
    done = 0.0
    while True:
        done += piece()
        elapsed = time.perf_counter() - start
        if elapsed >= seconds:
            return done / elapsed


def peak_rss_mib():
    """The largest resident set of this process so far, where the system tells it (Linux)."""
    try:
        with open("/proc/self/status") as status:
            line = next(line for line in status if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return None
    return int(line.split()[1]) / 1024


def say(message):
    print(json.dumps(message), flush=True)


def serve(threads, prepare):
    """`prepare()` returns a dictionary for the report and a function from seconds to a rate."""
    torch.set_num_threads(threads)
    torch.set_num_interop_threads(1)
    loaded = peak_rss_mib()
    try:
        info, rate = prepare()
    except (RuntimeError, OSError, ImportError) as error:
        # What torch.compile raises, without a C++ compiler for example, is the reason why this variant is left out.
        reason = str(error).strip().splitlines() or [""]
        say({"failed": f"{type(error).__name__}: {reason[0]}"})
        return
    say({"ready": True, "torch": torch.__version__, "loaded_rss_mib": loaded, **info})
    for line in sys.stdin:
        say({"rate": rate(float(line)), "peak_rss_mib": peak_rss_mib()})

"""The results as a Markdown table and as a chart. `python report.py results.json` writes both anew."""

import json
import math
import pathlib
import sys

COLUMNS = [
    "work",
    "unit",
    "lrpilot",
    "PyTorch, best of its variants",
    "ratio",
    "share of the matrix-product peak",
    "peak memory, MiB",
]


def number(value):
    """Three significant digits, without an exponent."""
    digits = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{round(value, 2 - math.floor(math.log10(abs(value)))) if value else 0:,.{digits}f}"


def spread(side):
    return f"{number(side['median'])} ({number(side['min'])}–{number(side['max'])})"


def markdown(results):
    lines = [f"| {' | '.join(COLUMNS)} |", "|---|---|--:|--:|--:|--:|--:|"]
    for row in results["works"]:
        ours, theirs, share = row["lrpilot"], row["pytorch"], row["gemm_share"]
        shares = f"{share['lrpilot']:.1%} : {share['pytorch']:.1%}" if row["flops_per_image"] else "–"
        memory = " : ".join("–" if s["peak_rss_mib"] is None else number(s["peak_rss_mib"]) for s in (ours, theirs))
        columns = [row["work"], row["unit"], spread(ours), f"{spread(theirs)}, {theirs['variant']}"]
        lines.append(f"| {' | '.join([*columns, spread(row['ratio']), shares, memory])} |")
    machine, settings = results["machine"], results["settings"]
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    left_out = sorted(
        {f"{t['name']}: {t['failed']}" for row in results["works"] for t in row["pytorch"]["trials"] if t["failed"]}
    )
    conditions = (
        f"Median (smallest–largest) of {settings['repetitions']} repetitions of {settings['seconds']:g} s in turn; the "
        "ratio's spread is that of the repetitions' own ratios. Where two numbers stand in a cell, lrpilot's is the first. "
        f"{machine['cpu']}, {machine['cores_used']} of {machine['cores']} cores used; matrix-product peak "
        f"{number(results['gemm_gflops'])} GFLOP/s ({machine['cores_used']} cores together, `gemm` crate). {versions}. "
        f"{results['date']}, {results['minutes']:.1f} minutes, load before {machine['load_before']:.1f}."
    )
    loaded = max(row["pytorch"]["loaded_rss_mib"] for row in results["works"])
    lines += ["", conditions]
    if loaded:
        lines += ["", f"Of PyTorch's memory up to {number(loaded)} MiB are the libraries as loaded, before any work."]
    if settings["quick"]:
        lines += ["", "A quick run: short, and without torch.compile."]
    if left_out:
        lines += ["", "Left out: " + "; ".join(left_out) + "."]
    return "\n".join(lines) + "\n"


def chart(results):
    """Ratios as bars from 1 on a logarithmic axis, with the spread of the repetitions."""
    rows = results["works"]
    left, width, step, top = 130, 460, 30, 56
    bottom = top + step * len(rows)
    low = min(1.0, *(row["ratio"]["min"] for row in rows)) / 1.15
    high = max(2.0, *(row["ratio"]["max"] for row in rows)) * 1.15

    def x(value):
        return left + width * math.log(value / low) / math.log(high / low)

    ticks = [m * 10**e for e in range(-3, 5) for m in (1, 2, 5) if low <= m * 10**e <= high]
    box = f"0 0 {left + width + 90} {bottom + 40}"
    machine, settings = results["machine"], results["settings"]
    conditions = f"{machine['cores_used']} cores, median and range of {settings['repetitions']} repetitions"
    shapes = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}" font-family="sans-serif" font-size="13" fill="#222">',
        '<rect width="100%" height="100%" fill="#fff"/>',
        '<text x="12" y="22" font-size="15" font-weight="bold">lrpilot against PyTorch: ratio of throughputs</text>',
        f'<text x="12" y="40" fill="#666">above 1 lrpilot is faster; {conditions}</text>',
    ]
    for tick in ticks:
        colour = "#222" if tick == 1 else "#ddd"
        shapes.append(f'<path d="M{x(tick):.1f} {top}V{bottom}" stroke="{colour}"/>')
        shapes.append(f'<text x="{x(tick):.1f}" y="{bottom + 18}" text-anchor="middle">{tick:g}</text>')
    for i, row in enumerate(rows):
        ratio, y = row["ratio"], top + step * i + step / 2
        start, end = sorted((x(1), x(ratio["median"])))
        colour = "#2a6f97" if ratio["median"] >= 1 else "#b5532d"
        shapes += [
            f'<text x="{left - 10}" y="{y + 4}" text-anchor="end">{row["work"]}</text>',
            f'<rect x="{start:.1f}" y="{y - 9}" width="{end - start:.1f}" height="18" fill="{colour}"/>',
            f'<path d="M{x(ratio["min"]):.1f} {y}H{x(ratio["max"]):.1f}" stroke="#222" stroke-width="1.5"/>',
            f'<text x="{max(x(ratio["max"]), x(1)) + 6:.1f}" y="{y + 4}">{number(ratio["median"])}×</text>',
        ]
    return "\n".join([*shapes, "</svg>"]) + "\n"


if __name__ == "__main__":
    path = pathlib.Path(sys.argv[1])
    stored = json.loads(path.read_text())
    path.with_name("results.md").write_text(markdown(stored))
    path.with_name("chart.svg").write_text(chart(stored))

#!/usr/bin/env python3
"""What a mesh of 10,000 clusters with 100,000 endpoints costs remora and Envoy, fed by the same control plane.

`bench-xds` is control plane, backends and caller for one proxy; this runs it for both in turn, several rounds, and prints
medians, ratios and whether the targets of the project hold. Loopback only.
"""
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# figure, what it is, unit, how the target reads, target met?
ROWS = [
    ("first_request_ms", "first full sync: time to the first served request", "ms"),
    ("first_sync_cpu_ms", "first full sync: CPU time", "ms"),
    ("peak_rss_kib", "first full sync: most memory ever resident", "KiB"),
    ("pss_kib", "memory afterwards (PSS)", "KiB"),
    ("change_visible_ms_median", "one endpoint moves: visible to traffic, median", "ms"),
    ("change_visible_ms_p99", "one endpoint moves: visible to traffic, p99", "ms"),
    ("change_cpu_ms", "one endpoint moves: CPU time", "ms"),
    ("storm_cpu_ms_per_change", "1,000 moves a second: CPU time of each", "ms"),
    ("pss_after_storm_kib", "memory after the moves (PSS)", "KiB"),
    ("quiet_p99_ms", "request p99, quiet", "ms"),
    ("resend_p99_ms", "request p99 while everything is sent again", "ms"),
    ("refused", "responses refused", ""),
]


def envoy():
    for root, _, files in os.walk(os.path.join(ROOT, "target", "peers", "lib")):
        path = os.path.join(root, "envoy")
        if "envoy" in files and os.path.getsize(path) > 10_000_000:
            return path
    return None


def targets(ours, theirs):
    """Each target with the figure it is judged by, and whether it holds."""
    first = ours["first_request_ms"] / theirs["first_request_ms"] if theirs else None
    peak = ours["peak_rss_kib"] / theirs["peak_rss_kib"] if theirs else None
    rows = [
        ("one endpoint moves: under 5 ms at the median", ours["change_visible_ms_median"], 5),
        ("one endpoint moves: under 1 ms of CPU", ours["change_cpu_ms"], 1),
        ("memory flat after the moves: at most 1.1x", ours["pss_after_storm_kib"] / ours["pss_kib"], 1.1),
        ("p99 during a full resend: at most 1.2x quiet", ours["resend_p99_ms"] / ours["quiet_p99_ms"], 1.2),
        ("nothing refused", ours["refused"], 0),
    ]
    if theirs:
        rows[:0] = [
            ("first request: at most 0.25x Envoy's time", first, 0.25),
            ("peak memory: at most 0.125x Envoy's", peak, 0.125),
        ]
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--binaries", default=os.path.join(ROOT, "target", "dist"), help="folder with remora and bench-xds")
    parser.add_argument("--clusters", default="10000")
    parser.add_argument("--endpoints", default="10")
    parser.add_argument("--storm", default="30", help="seconds of 1,000 changes each")
    parser.add_argument("--sotw", action="store_true", help="state of the world instead of delta")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    proxies = {"remora": os.path.join(arguments.binaries, "remora")}
    if envoy():
        proxies["envoy"] = envoy()
    else:
        print("no Envoy: run tests/peers.sh to compare with it", file=sys.stderr)
    runs = {name: [] for name in proxies}
    for number in range(arguments.rounds):
        for name, binary in proxies.items():
            print(f"round {number + 1} of {arguments.rounds}: {name}", file=sys.stderr)
            command = [os.path.join(arguments.binaries, "bench-xds"), "--proxy", binary]
            command += ["--clusters", arguments.clusters, "--endpoints", arguments.endpoints, "--storm", arguments.storm]
            command += [] if arguments.sotw else ["--delta"]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=900)
            if done.returncode:
                sys.exit(f"{name}: bench-xds failed")
            runs[name].append(json.loads(done.stdout))
    medians = {name: {row[0]: statistics.median(run[row[0]] for run in list_) for row in ROWS} for name, list_ in runs.items()}
    if arguments.json:
        print(json.dumps({"runs": runs, "medians": medians}))
        return
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, Linux {platform.release()}; "
          f"{arguments.clusters} clusters x {arguments.endpoints} endpoints, "
          f"{'state of the world' if arguments.sotw else 'delta'}, two workers, medians of {arguments.rounds} rounds")
    print(f"{'':56} {'remora':>10} {'envoy':>10} {'ratio':>7}")
    for key, what, unit in ROWS:
        ours, theirs = medians["remora"][key], medians.get("envoy", {}).get(key)
        ratio = f"{ours / theirs:.2f}x" if theirs else ""
        shown = "" if theirs is None else f"{theirs:.2f}"
        print(f"{what + (', ' + unit if unit else ''):56} {ours:>10.2f} {shown:>10} {ratio:>7}")
    print()
    for what, value, target in targets(medians["remora"], medians.get("envoy")):
        print(f"{'holds ' if value <= target else 'MISSED'} {what}: {value:.2f}")


if __name__ == "__main__":
    main()

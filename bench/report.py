#!/usr/bin/env python3
"""Makes the table and the plot of docs/performance.md from what `bench/compare.py --json FILE` wrote.

    python3 bench/report.py --plot docs/performance.svg FILE...

prints the table as Markdown. Figures of one scenario come from one file: the last that has it. Medians over the rounds;
ratios are medians of the ratios within a round.
"""
import argparse
import json
import statistics

# scenario: (what it is, target against Envoy, target against HAProxy)
ROWS = {
    "S1": ("unary 64 B, 8 connections x 16 streams", 0.25, 0.45),
    "S2": ("the same, mTLS both sides", 0.25, 0.45),
    "S3": ("one connection, one stream", 0.65, 0.85),
    "S4": ("200 connections x 4 streams", 0.20, 0.40),
    "S5": ("server stream of 1000 messages of 1 KiB", 0.40, 0.40),
    "S6": ("1 MiB response", 0.90, 0.30),
    "S6T": ("1 MiB response, mTLS both sides", 0.90, 0.35),
    "S7": ("paced 10,000 requests a second", 0.65, 0.85),
    "S8": ("KiB per idle h2c connection", 0.30, 1.0),
    "S8T": ("KiB per idle mTLS connection", 0.50, 0.60),
    "S9": ("unary with twelve more headers", 0.30, 0.55),
    "S10T": ("new mTLS connection and one call", 0.90, 0.45),
    "T1": ("TCP: 1 MiB responses, carried as bytes", None, 1.0),
    "T2": ("TCP: a new connection and one call", None, None),
}
COLOURS = {"envoy": "#8a8a8a", "haproxy": "#5b8fc7", "nginx": "#8fbf7f", "remora": "#d1495b"}


def median_of(figures, scenario, name):
    """The figure of one proxy: CPU microseconds per request, or KiB per connection; None where it was not measured."""
    rounds = figures.get(scenario)
    if isinstance(rounds, dict):
        return rounds.get(name)
    if rounds and name in rounds[0]:
        return statistics.median(one[name]["cpu_us"] for one in rounds)
    return None


def ratio(figures, scenario, name, peer):
    """Median of the ratios within a round."""
    rounds = figures.get(scenario)
    if isinstance(rounds, dict):
        return rounds[name] / rounds[peer] if name in rounds and peer in rounds else None
    if rounds and name in rounds[0] and peer in rounds[0]:
        return statistics.median(one[name]["cpu_us"] / one[peer]["cpu_us"] for one in rounds)
    return None


def number(value):
    if value is None:
        return ""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def judged(value, target):
    if value is None:
        return ""
    if target is None:
        return f"{value:.2f}"
    return f"{value:.2f} (<= {target:.2f}{'' if value <= target else ', missed'})"


def table(figures):
    lines = [
        "| scenario | Envoy | HAProxy | NGINX | forward | remora | remora / Envoy (target) | remora / HAProxy (target) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for scenario, (what, to_envoy, to_haproxy) in ROWS.items():
        if scenario not in figures:
            continue
        cells = [number(median_of(figures, scenario, name)) for name in ("envoy", "haproxy", "nginx", "forward", "remora")]
        cells.append(judged(ratio(figures, scenario, "remora", "envoy"), to_envoy))
        cells.append(judged(ratio(figures, scenario, "remora", "haproxy"), to_haproxy))
        lines.append(f"| {scenario} {what} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def plot(figures):
    """Bars, Envoy's figure being 1: CPU per request, or memory per idle connection. Plain SVG."""
    names = ["envoy", "haproxy", "nginx", "remora"]
    left, bar, gap, scale, most = 250, 9, 14, 300, 2.0
    out, y = [], 46
    for scenario, (what, _, _) in ROWS.items():
        base = median_of(figures, scenario, "envoy")
        if not base:
            continue
        height = len(names) * bar
        out.append(f'<text x="{left - 8}" y="{y + height / 2 + 4}" text-anchor="end">{scenario} {what}</text>')
        for index, name in enumerate(names):
            value = median_of(figures, scenario, name)
            if value is None:
                continue
            part = value / base
            width = min(part, most) * scale
            top = y + index * bar
            out.append(f'<rect x="{left}" y="{top}" width="{width:.1f}" height="{bar - 1}" fill="{COLOURS[name]}"/>')
            label = f"{part:.2f}" + (" (cut)" if part > most else "")
            out.append(f'<text x="{left + width + 4:.1f}" y="{top + bar - 1}" font-size="8">{label}</text>')
        y += height + gap
    legend = []
    for index, name in enumerate(names):
        x = left + index * 90
        legend.append(f'<rect x="{x}" y="14" width="10" height="10" fill="{COLOURS[name]}"/><text x="{x + 14}" y="23">{name}</text>')
    width = left + int(most * scale) + 60
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{y}" font-family="sans-serif" font-size="11">\n'
        f'<rect width="{width}" height="{y}" fill="white"/>\n'
        f'<text x="8" y="23">Envoy is 1; less is better</text>\n' + "\n".join(legend + out) + "\n</svg>\n"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="FILE", help="what compare.py --json wrote")
    parser.add_argument("--plot", metavar="SVG", help="write the plot here")
    arguments = parser.parse_args()
    figures = {}
    for file in arguments.files:
        with open(file) as text:
            figures.update(json.load(text))
    print(table(figures))
    if arguments.plot:
        with open(arguments.plot, "w") as svg:
            svg.write(plot(figures))


if __name__ == "__main__":
    main()

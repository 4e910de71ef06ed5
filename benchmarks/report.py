"""The README's tables and the chart, from the JSON that the benchmark wrote."""

import json
import textwrap
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from augment_utils.plotting import BLUE, GREEN, GREY, INK, ORANGE, RED
from benchmarks.peers import (
    ALBUMENTATIONS,
    FLOOR,
    KERAS,
    NAME,
    OPENCV,
    OURS,
    PEERS,
    SKIMAGE,
)
from tools.files import write_file
from tools.pages import figure_png, markdown_table, put_between_marks

COMMAND = "make bench"
GOALS = {(peer.transform, peer.name): peer.goal for peer in PEERS}
STYLES = {  # colour and hatch, so that neither is needed alone
    SKIMAGE: (BLUE, ""),
    OPENCV: (ORANGE, "//"),
    ALBUMENTATIONS: (RED, "xx"),
    KERAS: (GREEN, "\\\\"),
    FLOOR: (GREY, ""),
}


def report(results_path: Path, readme_path: Path, chart_path: Path) -> None:
    """Put the tables of a measurement into the README, and draw the chart.

    Parameters
    ----------
    results_path, readme_path, chart_path : pathlib.Path
        The JSON to read; the README, which has the two marks that the tables go between;
        the PNG to write.

    Raises
    ------
    FileNotFoundError
        There is no JSON, or no README.
    ValueError
        The JSON is not one of the benchmark's, or the README lacks its marks.
    """
    results = read_results(results_path)
    try:
        tables, png = markdown(results, chart_path.name), figure_png(chart(results))
        readme = put_between_marks(readme_path.read_text("utf-8"), tables, COMMAND)
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(
            f"{results_path.name} lacks what the tables need ({error!r}); "
            "make it anew with python -m benchmarks"
        ) from error
    write_file(chart_path, png)
    write_file(readme_path, readme.encode())


def read_results(path: Path) -> dict:
    """The JSON as a dict, or an error that says what to do."""
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such file; make it with python -m benchmarks")
    try:
        return json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(
            f"{path.name} is no JSON ({error}); make it anew with python -m benchmarks"
        ) from error


def markdown(results: dict, chart_name: str) -> str:
    """What the README says of the measurement."""
    plan, machine, data, epochs = (results[key] for key in ("plan", "machine", "data", "epochs"))
    side, batch, cores = plan["sides"][0], plan["batches"][-1], machine["cores"]
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    quick = "**A quick run, to try the benchmark: no figures to quote.** " if plan["quick"] else ""
    paragraphs = [
        f"{quick}Measured on {results['date']}: {machine['processor']}, {cores} cores, "
        f"{machine['memory_gib']} GiB, {machine['system']}, Python {machine['python']}; "
        f"{versions}. Images: {data['name']}, SHA-256 of its arrays {data['fingerprint'][:12]}…, "
        f"uint8 RGB; the larger ones {data['larger']}.",
        f"![{alt_text(results)}](images/{chart_name})",
        f"{side} × {side} pixels, batches of {batch:,}. × is how many times as many images a "
        "second we send through: the same images, as many threads, medians of runs in turn. In "
        "brackets, how many of the images a slow peer got. A peer for single images is called in "
        "a loop, on all cores with a part of the batch on each where that is quicker. Keras "
        "cannot be held to one thread beside the others. OpenCV's, Albumentations' and Keras' "
        "clip limits are ours times 256 bins.",
        comparison_table(results),
        "By size, × on one thread (Keras: all cores), pixels a side and batch; no batch has more "
        f"than {plan['largest']:,} numbers:",
        ratio_table(results),
        "By size, ours on one thread, in millions of pixels a second, in the largest batches (in "
        "brackets, of how many images):",
        size_table(results),
        f"An epoch of the post's CNN on {epochs[0]['images']:,} images, "
        f"{' or '.join(epochs[0]['classes'])}, in batches of {epochs[0]['batch']}, on all cores; "
        f"median of epochs in turn (in brackets, how many). Input alone is the same without the "
        "model:",
        epoch_table(epochs),
        *explorer_paragraphs(results["explorer"]),
        "Everything measured is in [results/bench.json](results/bench.json).",
    ]
    return "\n\n".join(
        text if text[0] in "!|" else textwrap.fill(text, 100, break_on_hyphens=False)
        for text in paragraphs
    )


# ---- the tables


def comparison_table(results: dict) -> str:
    """A line for each transform and peer, at the smallest side and the largest batch."""
    cores = results["machine"]["cores"]
    lines = []
    for transform in OURS:
        one, all_cores = (_cell(results, transform, threads) for threads in (1, cores))
        own = one[NAME]
        for name, peer in all_cores.items():
            if name == NAME:
                continue
            alone = one.get(name)
            lines.append(
                [
                    f"{transform} ({own['compared']})",
                    f"{name}, {peer['compared']} ({(alone or peer)['images']:,})",
                    f"{own['images_per_second']:,.0f}",
                    f"{alone['images_per_second']:,.0f}" if alone else "",
                    _times(alone["ratio"]) if alone else "",
                    _times(peer["ratio"]),
                    _times(GOALS[transform, name]),
                ]
            )
    header = ["Ours", "Peer", "Ours, images/s", "Peer, images/s", "× on one thread"]
    return markdown_table([*header, f"× on all {cores}", "Goal"], lines, text_columns=2)


def ratio_table(results: dict) -> str:
    """A line for each transform and peer, a column for each side and batch."""
    places = list(dict.fromkeys((row["side"], row["batch"]) for row in results["rows"]))
    lines = []
    for transform in OURS:
        for name, _ in _bars(results, transform):
            ratios = [dict(_bars(results, transform, *place))[name] for place in places]
            lines.append([f"{transform}, {name}", *map(_number, ratios)])
    header = ["Ours, peer", *(f"{side:,} px, {batch:,}" for side, batch in places)]
    return markdown_table(header, lines)


def size_table(results: dict) -> str:
    """Millions of pixels a second by side: the same all along, if time is linear in pixels."""
    plan, lines = results["plan"], []
    for transform in OURS:
        line = [transform]
        speeds = []
        for side in plan["sides"]:
            row = _cell(results, transform, 1, side)[NAME]
            speeds.append(row["images_per_second"] * side**2 / 1e6)
            line.append(f"{speeds[-1]:.1f} ({row['images']:,})")
        lines.append([*line, f"{100 * (speeds[-1] / speeds[0] - 1):+.0f} %"])
    sides = [f"{side:,} px" for side in plan["sides"]]
    return markdown_table(["Ours", *sides, "last against first"], lines)


def epoch_table(epochs: list[dict]) -> str:
    """Seconds, and how much more than the same input without contrast."""
    lines = [
        [
            epoch["input"],
            f"{epoch['input_seconds']:.2f}",
            f"{epoch['seconds']:.2f} ({epoch['epochs']})",
            "" if epoch["input"] == epoch["baseline"] else f"{100 * (epoch['ratio'] - 1):+.0f} %",
            "" if epoch["goal"] is None else f"{100 * (epoch['goal'] - 1):+.0f} %",
        ]
        for epoch in epochs
    ]
    return markdown_table(
        ["Input", "Input alone, s", "Epoch, s", "Against no contrast", "Goal"], lines
    )


def explorer_paragraphs(explorer: dict) -> tuple[str, str]:
    """A line for each transform and size: how long a moved slider takes."""
    machine, versions = explorer["machine"], explorer["versions"].items()
    lines = [
        [
            f"{row['transform']}, `{row['control']}`",
            f"{row['side']} × {row['side']}",
            *(f"{row[key]:.0f}" for key in ("median_ms", "p90_ms", "goal_ms")),
        ]
        for row in explorer["rows"]
    ]
    return (
        "The explorer of notebook 11: milliseconds from a moved slider to the new picture, spent "
        "in the kernel (the way to the browser comes on top), over "
        f"{explorer['moves']} moves. Measured on {explorer['date']}: {machine['processor']}, "
        f"{machine['cores']} cores; {', '.join(' '.join(pair) for pair in versions)}.",
        markdown_table(
            ["Transform, what is moved", "Pixels", "Median", "90th percentile", "Goal"], lines, 2
        ),
    )


def alt_text(results: dict) -> str:
    """The chart for who cannot see it: its figures."""
    parts = []
    for transform in OURS:
        ratios = [f"{name} {_times(ratio)}" for name, ratio in _bars(results, transform)]
        parts.append(f"{transform[0].upper()}{transform[1:]}: {', '.join(ratios)}")
    return (
        "Bars, longer is better: how many times as many images a second as each peer. "
        f"{'. '.join(parts)}. A black line marks a goal; the table below has it."
    )


def _bars(results, transform, *place):
    """(peer, ratio), on one thread where the peer was measured so."""
    one, every = (
        _cell(results, transform, threads, *place) for threads in (1, results["machine"]["cores"])
    )
    return [(name, one.get(name, row)["ratio"]) for name, row in every.items() if name != NAME]


def _cell(results, transform, threads, side=None, batch=None):
    """peer: its row, of one cell of the measurement; of that with the goals by default."""
    side, batch = side or results["plan"]["sides"][0], batch or results["plan"]["batches"][-1]
    wanted = {"transform": transform, "side": side, "batch": batch, "threads": threads}
    rows = {row["peer"]: row for row in results["rows"] if wanted.items() <= row.items()}
    if NAME not in rows:
        raise KeyError(f"no row of {wanted}")
    return rows


def _number(ratio):
    return f"{ratio:,.{0 if ratio >= 10 else 1 if ratio >= 1 else 2}f}"


def _times(ratio):
    return "" if ratio is None else f"{_number(ratio)} ×"


# ---- the chart


def chart(results: dict) -> Figure:
    """Bars of the ratios on a logarithmic axis, with a line for each goal."""
    plan, cores = results["plan"], results["machine"]["cores"]
    fig = Figure(figsize=(7, 5.6), layout="constrained")
    axis, place, ticks = fig.subplots(), 0.0, []
    for transform in OURS:
        bars = _bars(results, transform)
        ticks.append((place + (len(bars) - 1) / 2, transform))
        for name, ratio in bars:
            colour, hatch = STYLES[name]
            goal = GOALS[transform, name]
            look: dict = {"color": colour, "hatch": hatch, "edgecolor": "white", "linewidth": 0}
            axis.barh(place, ratio - 1, 0.8, left=1, **look)
            if goal:
                axis.plot([goal, goal], [place - 0.48, place + 0.48], color=INK, linewidth=2)
            end = max(ratio, goal or 1, 1)
            axis.text(end * 1.06, place, _times(ratio), va="center", fontsize=9)
            place += 1
        place += 0.7
    axis.set(xscale="log", ylim=(place - 0.9, -0.7), xlabel="times as many images a second")
    axis.set_xlim(right=axis.get_xlim()[1] * 1.6)
    axis.set_xticks([1, 10, 100], ["1", "10", "100"])
    axis.set_yticks(*zip(*ticks, strict=True))
    axis.tick_params(axis="y", length=0)
    axis.axvline(1, color=INK, linewidth=0.8)
    axis.spines[["top", "right"]].set_visible(False)
    sides, batch = plan["sides"][0], plan["batches"][-1]
    axis.set_title(
        f"{sides} × {sides} RGB, batches of {batch:,}, one thread (Keras: {cores}); "
        "black: the goal",
        fontsize=10,
    )
    handles = [
        Patch(facecolor=colour, hatch=hatch, edgecolor="white", linewidth=0, label=name)
        for name, (colour, hatch) in STYLES.items()
    ]
    fig.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=9)
    return fig

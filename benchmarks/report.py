"""The page of speeds and its chart, from the JSON that the benchmark wrote."""

import json
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from augment_utils.plotting import BLUE, GREEN, GREY, INK, ORANGE, RED
from benchmarks import peers
from benchmarks.layers import LAYERS
from benchmarks.peers import NAME, OURS, PEERS
from tools.files import write_file
from tools.pages import figure_png, fill, markdown_table

GOALS = {(peer.transform, peer.name): peer.goal for peer in PEERS}
STYLES = {  # colour and hatch, so that neither is needed alone
    peers.SKIMAGE: (BLUE, ""),
    peers.OPENCV: (ORANGE, "//"),
    peers.PILLOW: (GREEN, ".."),
    peers.KORNIA_RS: (BLUE, "++"),
    peers.ALBUMENTATIONS: (RED, "xx"),
    peers.KERAS: (GREEN, "\\\\"),
    peers.PLAIN_LOOP: (GREY, ""),
}


def report(root: Path) -> None:
    """Make results/speed.md and images/bench.png from results/bench.json.

    Parameters
    ----------
    root : pathlib.Path
        The folder with results and images.

    Raises
    ------
    FileNotFoundError
        There is no JSON.
    ValueError
        The JSON is not one of the benchmark's.
    """
    results = read_results(root / "results" / "bench.json")
    try:
        text, png = page(results), figure_png(chart(results))
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(
            f"bench.json lacks what the tables need ({error!r}); "
            "make it anew with python -m benchmarks"
        ) from error
    write_file(root / "images" / "bench.png", png)
    write_file(root / "results" / "speed.md", text.encode())


def read_results(path: Path) -> dict:
    """The JSON as a dict, or an error that says what to do."""
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such file; make it with python -m benchmarks")
    try:
        return json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(
            f"{path.name} is no JSON ({error}); delete it and run python -m benchmarks"
        ) from error


def page(results: dict) -> str:
    """results/speed.md."""
    plan, data, epochs = (results[key] for key in ("plan", "data", "epochs"))
    side, batch = plan["sides"][0], plan["batches"][-1]
    quick = "**A quick run, to try the benchmark: no figures to quote.** " if plan["quick"] else ""
    paragraphs = [
        "# Speed",
        "The transforms beside their peers, measured and written down by `make bench` (about five "
        "minutes on two cores; `python -m benchmarks --quick` only tries it, in half a minute). "
        "Everything measured is in [bench.json](bench.json).",
        f"{quick}{circumstances(results)} Images: {data['name']}, SHA-256 of its arrays "
        f"{data['fingerprint'][:12]}…, uint8 RGB; the larger ones {data['larger']}.",
        f"![{alt_text(results)}](../images/bench.png)",
        f"## {side} × {side} pixels, batches of {batch:,}",
        "× is how many times as many images a second we send through. All get the same images and "
        "as many threads, and their medians are of runs in turn. A peer gets the images in its own "
        "form (a picture, a tensor), made before the clock starts; what it returns is left as it "
        "is. It is called the fastest way that its documentation shows, for as nearly the same "
        "work as it can do, which stands below the table. A goal is how many times we want to be "
        "as fast, at least and on one thread (as Keras on all); some are missed.",
        comparison_table(results),
        "What is compared, and in brackets how many of the images a slow peer got. A peer for "
        "single images is called in a loop, on all cores with a part of the batch on each where "
        "that is quicker. Keras cannot be held to one thread beside the others, and kornia-rs "
        "keeps the one that it is held to. A flat view has R, G and B side by side as one channel; "
        "who works on V, Y or L converts the colours and converts them back. Clip limits are ours "
        "times 256 bins, but for scikit-image's. The CLAHE of scikit-image and ours hand out the "
        "clipped pixels until none is left over, and stretch the image before and after; the "
        "others hand them out once, and stretch nothing.",
        what_is_compared(results),
        "## By size",
        "× on one thread (Keras: all cores), for batches of so many images: one, a training "
        f"batch, and the {batch:,} of above, or what {plan['largest']:,} numbers hold.",
        *(ratio_table(results, side) for side in plan["sides"]),
        "Ours on one thread, in millions of pixels a second, in the largest batches (in brackets, "
        "of how many images):",
        size_table(results),
        *optional_paragraphs(results.get("optional")),
        "## An epoch",
        f"An epoch of the post's CNN on {epochs[0]['images']:,} images, "
        f"{' or '.join(epochs[0]['classes'])}, in batches of {epochs[0]['batch']}, on all cores; "
        "median of epochs in turn (in brackets, how many; one alone is no figure to quote). Longer "
        "is against no contrast; the goal is at most so much longer. Input is "
        "the same without the model: what it takes more than without contrast is the cost of an "
        "image, whatever the model; its share of an epoch depends on how long the model takes.",
        epoch_table(epochs),
        "## The layers",
        "Our Keras layers beside Keras' own, in graphs of TensorFlow on all cores, batches of "
        f"{results['layers'][0]['images']:,} images of {side} × {side} bytes, in turn. Keras' "
        "layers do other work: its CLAHE takes R, G and B each and hands the clipped pixels out "
        "once, and its `Equalization` counts one histogram for each channel of the whole batch.",
        layer_table(results["layers"]),
        "## The explorer",
        *explorer_paragraphs(results["explorer"]),
    ]
    return "\n\n".join(map(fill, paragraphs)) + "\n"


def circumstances(results: dict) -> str:
    """When, where and with what it was measured."""
    machine = results["machine"]
    versions = ", ".join(map(" ".join, results["versions"].items()))
    return (
        f"Measured on {results['date']}: {machine['processor']}, {machine['cores']} cores, "
        f"{machine['memory_gib']} GiB, {machine['system']}, Python {machine['python']}; {versions}."
    )


# ---- the tables


def comparison_table(results: dict) -> str:
    """A line for each transform and peer, at the smallest side and the largest batch."""
    lines = []
    for transform, name, own, alone, peer in _pairs(results):
        lines.append(
            [
                f"{transform}, {name}",
                _times(alone["ratio"]) if alone else "",
                _times(peer["ratio"]) if peer else "",
                _times(GOALS[transform, name]),
                f"{own['images_per_second']:,.0f}",
                f"{alone['images_per_second']:,.0f}" if alone else "",
            ]
        )
    header = ["Ours, peer", "× on one thread", f"× on all {results['machine']['cores']}", "Goal"]
    return markdown_table([*header, "Ours, images/s", "Peer, images/s"], lines)


def what_is_compared(results: dict) -> str:
    """An item for each transform: what it works on, and what its peers do."""
    items: dict[str, list[str]] = {}
    for transform, name, own, alone, peer in _pairs(results):
        parts = items.setdefault(transform, [f"- {transform} ({own['compared']})"])
        row = alone or peer
        parts.append(f"{name}, {row['compared']} ({row['images']:,})")
    return "\n".join(f"{parts[0]}: {'; '.join(parts[1:])}" for parts in items.values())


def ratio_table(results: dict, side: int) -> str:
    """A line for each transform and peer, a column for each batch."""
    batches = dict.fromkeys(row["batch"] for row in results["rows"] if row["side"] == side)
    lines = []
    for transform in OURS:
        for name, _ in _bars(results, transform):
            ratios = [dict(_bars(results, transform, side, batch))[name] for batch in batches]
            lines.append([f"{transform}, {name}", *map(_number, ratios)])
    images = [_cell(results, "CLAHE", 1, side, batch)[NAME]["images"] for batch in batches]
    header = [f"{side:,} × {side:,} pixels: ours, peer", *(f"batch of {n:,}" for n in images)]
    return markdown_table(header, lines)


def optional_paragraphs(optional: dict | None) -> list[str]:
    """The peers that no extra installs, beside ours in the same run."""
    heading = "## Peers that no extra installs"
    how = (
        "SimpleITK takes a quarter of a gigabyte, and torchvision and Kornia five, with PyTorch, "
        "so `make bench` leaves them out. [CONTRIBUTING.md](../CONTRIBUTING.md"
        "#make-the-results-anew) says how to install and measure them."
    )
    if optional is None:
        return [heading, f"{how} They have not been measured yet."]
    return [
        heading,
        f"{how} They were measured once, on one thread, with ours in turn. "
        f"{circumstances(optional)}",
        what_is_compared(optional),
        *(ratio_table(optional, side) for side in optional["plan"]["sides"]),
    ]


def size_table(results: dict) -> str:
    """Millions of pixels a second by side: the same all along, if time is linear in pixels."""
    plan, lines = results["plan"], []
    for transform in OURS:
        line, speeds = [], []
        for side in plan["sides"]:
            row = _cell(results, transform, 1, side)[NAME]
            speeds.append(row["images_per_second"] * side**2 / 1e6)
            line.append(f"{speeds[-1]:.1f} ({row['images']:,})")
        lines.append([transform, f"{100 * (speeds[-1] / speeds[0] - 1):+.0f} %", *line])
    sides = [f"{side:,} px" for side in plan["sides"]]
    return markdown_table(["Ours", f"{sides[-1]} against {sides[0]}", *sides], lines)


def epoch_table(epochs: list[dict]) -> str:
    """Seconds, and how much more than the same input without contrast."""
    alone = {epoch["input"]: epoch["input_seconds"] for epoch in epochs}

    def microseconds(epoch):
        return 1e6 * (epoch["input_seconds"] - alone[epoch["baseline"]]) / epoch["images"]

    lines = [
        [
            epoch["input"],
            "" if epoch["input"] == epoch["baseline"] else f"{100 * (epoch['ratio'] - 1):+.0f} %",
            "" if epoch["goal"] is None else f"{100 * (epoch['goal'] - 1):+.0f} %",
            f"{epoch['seconds']:.2f} ({epoch['epochs']})",
            f"{epoch['input_seconds']:.2f}",
            "" if epoch["input"] == epoch["baseline"] else f"{microseconds(epoch):,.0f}",
        ]
        for epoch in epochs
    ]
    return markdown_table(
        ["Input", "Longer", "Goal", "Epoch, s", "Input, s", "An image, µs"],
        lines,
    )


def layer_table(rows: list[dict]) -> str:
    """A line for each transform."""
    speed = {(row["transform"], row["layer"]): row["images_per_second"] for row in rows}
    lines = [
        [
            f"{transform}, {peer}",
            _times(speed[transform, "ours"] / speed[transform, "Keras"]),
            _times(goal),
            f"{speed[transform, 'ours']:,.0f}",
            f"{speed[transform, 'Keras']:,.0f}",
        ]
        for transform, (peer, goal) in LAYERS.items()
    ]
    return markdown_table(
        ["Our layer, Keras'", "×", "Goal", "Ours, images/s", "Keras, images/s"], lines
    )


def explorer_paragraphs(explorer: dict) -> list[str]:
    """How long a moved slider takes, a table for each size."""
    machine, versions = explorer["machine"], explorer["versions"].items()
    lines: dict[int, list[list[str]]] = {}
    for row in explorer["rows"]:
        times = [f"{row[key]:.0f}" for key in ("median_ms", "goal_ms", "p90_ms")]
        moved = f"{row['transform']}, `{row['control']}`"
        lines.setdefault(row["side"], []).append([moved, *times])
    return [
        "The explorer of notebook 11: milliseconds from a moved slider to the new picture, spent "
        "in the kernel (the way to the browser comes on top), over "
        f"{explorer['moves']} moves. Measured on {explorer['date']}: {machine['processor']}, "
        f"{machine['cores']} cores; {', '.join(' '.join(pair) for pair in versions)}.",
        *(
            markdown_table([f"{side} × {side} pixels", "Median", "Goal", "90th percentile"], rows)
            for side, rows in lines.items()
        ),
    ]


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


def _pairs(results):
    """(transform, peer's name, our row on one thread, the peer's or None, and on all cores)."""
    cores = results["machine"]["cores"]
    for transform in OURS:
        one, all_cores = (_cell(results, transform, threads) for threads in (1, cores))
        for name in one | all_cores:
            if name != NAME:
                yield transform, name, one[NAME], one.get(name), all_cores.get(name)


def _bars(results, transform, *place):
    """(peer, ratio), on one thread where the peer was measured so."""
    one, all_cores = (
        _cell(results, transform, threads, *place) for threads in (1, results["machine"]["cores"])
    )
    rows = one | all_cores | one  # in this order, and of those in both, the first
    return [(name, row["ratio"]) for name, row in rows.items() if name != NAME]


def _cell(results, transform, threads, side=None, batch=None):
    """peer: its row, of one cell of the measurement; of that with the goals by default."""
    side, batch = side or results["plan"]["sides"][0], batch or results["plan"]["batches"][-1]
    wanted = {"transform": transform, "side": side, "batch": batch, "threads": threads}
    rows = {row["peer"]: row for row in results["rows"] if wanted.items() <= row.items()}
    if threads == 1 and NAME not in rows:  # not all were measured on all cores
        raise KeyError(f"no row of {wanted}")
    return rows


def _number(ratio):
    return f"{ratio:,.{0 if ratio >= 10 else 1 if ratio >= 1 else 2}f}"


def _times(ratio):
    return f"{_number(ratio)} ×"


# ---- the chart


def chart(results: dict) -> Figure:
    """Bars of the ratios on a logarithmic axis, with a line for each goal."""
    plan, cores = results["plan"], results["machine"]["cores"]
    fig = Figure(figsize=(7, 7.2), layout="constrained")
    axis, place, ticks = fig.subplots(), 0.0, []
    for transform in OURS:
        bars = _bars(results, transform)
        ticks.append((place + (len(bars) - 1) / 2, transform))
        for name, ratio in bars:
            colour, hatch = STYLES[name]
            goal = GOALS[transform, name]
            look: dict = {"color": colour, "hatch": hatch, "edgecolor": "white", "linewidth": 0}
            axis.barh(place, ratio - 1, 0.8, left=1, **look)
            axis.plot([goal, goal], [place - 0.48, place + 0.48], color=INK, linewidth=2)
            end = max(ratio, goal, 1)
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
    fig.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=9)
    return fig

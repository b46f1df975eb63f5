"""The picture of what an answer costs over histories of several sizes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

Points = Sequence[tuple[float, float]]


def cost_against_size(lines: Mapping[str, Points], *, goal_ms: float) -> bytes:
    """Return an SVG of milliseconds against tasks, both axes logarithmic; the same points make the same bytes.

    Args:
        lines: Points of tasks and milliseconds, by what is drawn.
        goal_ms: What an answer may cost; a dotted line.
    """
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import FuncFormatter

    with mpl.rc_context({"svg.hashsalt": "tasker-health", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
        for (name, points), style in zip(lines.items(), ("o-", "s-", "^--", "v--", "D--"), strict=False):
            axes.plot(*zip(*points, strict=True), style, label=name)
        axes.axhline(goal_ms, color="grey", linestyle=":", linewidth=1, label=f"goal with nothing new: {goal_ms:g} ms")
        axes.set(xscale="log", yscale="log", xlabel="tasks in the database", ylabel="median milliseconds")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}" if value < 1 else f"{value:,.0f}"))
        axes.grid(visible=True, which="major", alpha=0.3)
        axes.legend(fontsize="small")
        picture = io.BytesIO()
        figure.savefig(picture, format="svg", metadata={"Date": None})
        plt.close(figure)
    return b"\n".join(line.rstrip() for line in picture.getvalue().splitlines()) + b"\n"


def latencies(bars: Sequence[tuple[str, float, float]], ranges: Mapping[str, tuple[float, float]]) -> bytes:
    """Return an SVG of how long answers take, on a logarithmic axis; the same figures make the same bytes.

    Args:
        bars: Name, median and p99 in milliseconds, the first at the top.
        ranges: What is promised, least and most, by name.
    """
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    with mpl.rc_context({"svg.hashsalt": "tasker-health", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure, axes = plt.subplots(figsize=(8, 1 + 0.35 * len(bars)), layout="constrained")
        names, medians, highest = zip(*bars, strict=True)
        places = range(len(bars))
        for place, name in enumerate(names):
            if name in ranges:
                least, most = ranges[name]
                axes.barh(place, most - least, left=least, height=0.8, color="gold", alpha=0.5, zorder=1)
        axes.hlines(places, medians, highest, color="tab:blue", linewidth=1.5, zorder=2)
        axes.plot(medians, places, "o", color="tab:blue", label="median", zorder=3)
        axes.plot(highest, places, "|", color="tab:blue", markersize=10, label="p99", zorder=3)
        axes.barh([0], [0], color="gold", alpha=0.5, label="the guide's range")
        axes.set(xscale="log", xlabel="milliseconds")
        axes.set_yticks(list(places), names)
        axes.invert_yaxis()
        axes.grid(visible=True, axis="x", alpha=0.3)
        axes.legend(fontsize="small")
        picture = io.BytesIO()
        figure.savefig(picture, format="svg", metadata={"Date": None})
        plt.close(figure)
    return b"\n".join(line.rstrip() for line in picture.getvalue().splitlines()) + b"\n"

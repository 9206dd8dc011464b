"""The plot of a report, as SVG."""

from pathlib import Path
from typing import Final

from benchmarks.report import Report

__all__ = ["draw"]

_OURS: Final = "#d1495b"
_OTHERS: Final = "#8d99ae"


def draw(report: Report, directory: Path) -> Path:
    """Draw the bars on a logarithmic axis, the longest on top. Returns the file. Needs matplotlib."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams["svg.hashsalt"] = report.name  # the same file for the same figures
    bars = sorted(report.bars, key=lambda bar: bar.middle)
    middles = [bar.middle for bar in bars]
    spread = [[bar.middle - bar.low for bar in bars], [bar.high - bar.middle for bar in bars]]
    figure = Figure(figsize=(9, 0.6 + 0.3 * len(bars)), layout="constrained")
    axes = figure.subplots()
    drawn = axes.barh(
        [bar.label for bar in bars],
        middles,
        xerr=spread,
        color=[_OURS if bar.is_ours else _OTHERS for bar in bars],
        ecolor="#333333",
    )
    axes.bar_label(drawn, [f" {middle:,.0f}" if middle >= 100 else f" {middle:.3g}" for middle in middles], padding=3)
    axes.set_xscale("log")
    axes.set_xlabel(f"{report.unit}, median; lines from the lowest to the highest")
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.15)
    path = directory / f"{report.name}.svg"
    figure.savefig(path, metadata={"Date": None})
    return path

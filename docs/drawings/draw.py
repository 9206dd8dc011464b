"""Draws the figures of docs/concepts.md and docs/time.md: `python docs/drawings/draw.py`.

A test compares the files with what it draws.
"""

from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent

_SECOND: Final = 40
"""Width of a second of event time, in pixels."""
_LEFT: Final = 110
_STYLE: Final = (
    "text{font:13px sans-serif;fill:#222}.small{font-size:11px}.offset{fill:#fff;text-anchor:middle}"
    ".axis{stroke:#888}.mark{stroke:#c0392b;stroke-width:2}.arrow{stroke:#444;fill:none}.head{fill:#444}"
    ".open,.box{fill:#d6eaf8;stroke:#2e86c1}.store{fill:#e9f7ef;stroke:#1e8449}"
    ".frame{fill:none;stroke:#888;stroke-dasharray:5}"
    ".grace{fill:#fdebd0;stroke:#ca6f1e}.record{fill:#1e8449}.late{fill:#c0392b}"
)


def main() -> None:
    """Write all drawings."""
    for name, drawing in drawings().items():
        (FOLDER / name).write_text(drawing)


def drawings() -> dict[str, str]:
    """The drawings by the names of their files."""
    return {
        "flow.svg": _flow(),
        "checkpoint.svg": _checkpoint(),
        "fencing.svg": _fencing(),
        "watermark.svg": _watermark(),
        "grace.svg": _grace(),
        "idle.svg": _idle(),
    }


def _flow() -> str:
    """Two partitions, the worker that has them, and its store."""
    parts = [
        _text(10, 26, "Kafka"),
        *_box(10, 210, 150, 40, "topic of the outputs"),
        _text(262, 26, "a worker"),
        '<rect class="frame" x="250" y="36" width="230" height="160"/>',
        _text(632, 26, "the store"),
        *_box(620, 50, 150, 130, "", kind="store"),
    ]
    for partition, (y, offset) in enumerate([(56, 7), (126, 4)]):
        parts += _box(10, y, 150, 48, f"partition {partition}")
        parts += _arrow(160, y + 24, 262, y + 24, "records")
        parts += _box(262, y, 206, 48, "processor and its state")
        parts += _arrow(468, y + 24, 632, y + 24, "checkpoints")
        parts += _box(632, y + 4, 126, 40, f"state up to {offset}", kind="store")
    parts += [
        f'<path class="arrow" d="M365 174V230H170"/>{_head(160, 230, left=True)}',
        _text(200, 222, "outputs"),
        _text(376, 222, "Kafka acknowledges the outputs of a record"),
        _text(376, 240, "before a checkpoint covers it"),
    ]
    return _canvas(780, 262, parts)


def _checkpoint() -> str:
    """Records in the order of offsets, a checkpoint, a crash, and what the next worker applies."""
    stored, crash, last = 3, 6, 9
    parts = [
        _text(10, 26, "a worker stores a checkpoint after record 3, and is killed after record 6; another one goes on"),
        _text(10, 74, "first worker"),
        _text(10, 144, "next worker"),
    ]
    for offset in range(last + 1):
        x = 140 + 56 * offset
        for y in ([70] if offset <= crash else []) + ([140] if offset > stored else []):
            parts += [f'<circle class="record" cx="{x}" cy="{y}" r="14"/>', _text(x, y + 5, str(offset), "offset")]
    parts += [
        f'<line class="mark" x1="{140 + 56 * stored + 28}" y1="46" x2="{140 + 56 * stored + 28}" y2="164"/>',
        _text(150 + 56 * stored + 28, 52, "checkpoint: the state of the records up to 3, and the offset 3"),
        _text(140 + 56 * crash + 28, 75, "killed"),
        _text(140, 145, "loads the checkpoint"),
        _text(
            140,
            188,
            "What records 4 to 6 did to the state is lost with the first worker, and is done again by the next one.",
        ),
        _text(
            140,
            206,
            "So each record is in the state once. Outputs of records 4 to 6 may have been sent, and are sent again.",
        ),
    ]
    return _canvas(780, 210, parts)


def _fencing() -> str:
    """Two workers over time, of which the first has lost its partition without knowing it."""
    parts = [
        _text(10, 64, "worker 1"),
        *_box(90, 40, 150, 40, "epoch 1"),
        '<rect class="frame" x="240" y="40" width="270" height="40"/>',
        _text(252, 64, "paused, and loses the partition"),
        *_arrow(170, 80, 170, 180, "save"),
        *_arrow(540, 80, 540, 180, "save"),
        *_box(510, 40, 60, 40, "wakes"),
        _text(550, 170, "refused: epoch 1 is older than 2"),
        _text(10, 284, "worker 2"),
        *_box(300, 260, 470, 40, "epoch 2: claims, loads the state, goes on"),
        *_arrow(330, 260, 330, 220, "claim"),
        *_arrow(660, 260, 660, 220, "save"),
        _text(10, 204, "store"),
        *_box(90, 180, 240, 40, "epoch 1", kind="store"),
        *_box(330, 180, 440, 40, "epoch 2", kind="store"),
    ]
    return _canvas(800, 320, parts)


# Seconds of event time of records, in the order of their offsets
_RECORDS: Final = [1.2, 3.4, 2.6, 5.1, 4.2, 8.3, 7.7, 9.4]
_OUT_OF_ORDER: Final = 2


def _watermark() -> str:
    """Records by offset, and the watermark after each of them, with ticks of a second."""
    parts, highest = list(_axis(10, 60 + 30 * len(_RECORDS), "event time, in seconds")), 0.0
    for offset, time in enumerate(_RECORDS):
        y = 50 + 30 * offset
        highest = max(highest, time)
        mark = int(highest - _OUT_OF_ORDER) if highest >= _OUT_OF_ORDER else None
        parts.append(_text(10, y + 4, f"offset {offset}"))
        parts.append(_record(time, y))
        if mark is not None:
            parts.append(f'<line class="mark" x1="{_x(mark)}" y1="{y - 13}" x2="{_x(mark)}" y2="{y + 13}"/>')
    parts.append(_text(10, 22, "records, and the watermark after each of them: --out-of-order 2s, tick 1s"))
    return _svg(10, 110 + 30 * len(_RECORDS), parts)


def _grace() -> str:
    """A window with grace, a record in time, a late one, and the watermark that closes the window."""
    parts = [
        _text(_LEFT, 22, "a window of 4 s with a grace of 2 s"),
        f'<rect class="open" x="{_x(2)}" y="40" width="{4 * _SECOND}" height="34"/>',
        f'<rect class="grace" x="{_x(6)}" y="40" width="{2 * _SECOND}" height="34"/>',
        _text(_LEFT + 2 * _SECOND + 6, 61, "the window: 2 to 6"),
        _text(_LEFT + 6 * _SECOND + 6, 61, "grace"),
        f'<line class="mark" x1="{_x(8)}" y1="34" x2="{_x(8)}" y2="80"/>',
        _text(_LEFT + 8 * _SECOND + 8, 52, "the window closes once"),
        _text(_LEFT + 8 * _SECOND + 8, 70, "the watermark is here"),
        _record(4.5, 102),
        _text(_LEFT + 190, 106, "comes before that: it is added"),
        _record(5.2, 130, late=True),
        _text(_LEFT + 218, 134, "comes after that: it is late"),
        *_axis(13, 160, "event time, in seconds"),
    ]
    return _svg(13, 210, parts)


def _idle() -> str:
    """The watermark over the machine's clock: records move it, and then a window's end, once the partition is idle."""
    records, idle_after, end = [1.0, 2.0, 3.0], 4, 5

    def y(event_time: float) -> float:
        return 250 - event_time * 30

    path = f"M{_x(records[0])} {y(records[0])}"
    for time in records[1:]:
        path += f"H{_x(time)}V{y(time)}"
    path += f"H{_x(end + idle_after)}V{y(end)}H{_x(12)}"
    parts = [
        _text(10, 22, "the watermark, by the machine's clock: --idle-after 4s; no record comes after 3 s"),
        f'<line class="grace" x1="{_x(0)}" y1="{y(end)}" x2="{_x(12)}" y2="{y(end)}" stroke-dasharray="4"/>',
        _text(_LEFT + 6, int(y(end)) - 8, "a window ends here"),
        f'<path class="mark" fill="none" d="{path}"/>',
        *(f'<circle class="record" cx="{_x(time)}" cy="{y(time)}" r="5"/>' for time in records),
        _text(_LEFT + 6 * _SECOND, int(y(3)) + 20, "idle"),
        _text(_LEFT + 9 * _SECOND + 8, int(y(4)) + 4, "4 s after its end,"),
        _text(_LEFT + 9 * _SECOND + 8, int(y(4)) + 22, "the window closes"),
        f'<line class="axis" x1="{_LEFT}" y1="{y(0)}" x2="{_LEFT}" y2="{y(6)}"/>',
        *(f'<text class="small" x="{_LEFT - 18}" y="{y(time) + 4}">{time}</text>' for time in range(7)),
        _text(10, int(y(6)) - 8, "event time, in seconds"),
        *_axis(12, 250, "the machine's clock, in seconds"),
    ]
    return _svg(12, 300, parts)


def _x(second: float) -> str:
    return f"{_LEFT + second * _SECOND:g}"


def _axis(seconds: int, y: int, title: str) -> Iterable[str]:
    yield f'<line class="axis" x1="{_LEFT}" y1="{y}" x2="{_x(seconds)}" y2="{y}"/>'
    for second in range(seconds + 1):
        yield f'<line class="axis" x1="{_x(second)}" y1="{y}" x2="{_x(second)}" y2="{y + 5}"/>'
        yield f'<text class="small" x="{_x(second)}" y="{y + 18}" text-anchor="middle">{second}</text>'
    yield _text(_LEFT, y + 36, title)


def _record(second: float, y: int, *, late: bool = False) -> str:
    return f'<circle class="{"late" if late else "record"}" cx="{_x(second)}" cy="{y}" r="5"/>'


def _box(x: int, y: int, width: int, height: int, text: str, kind: str = "box") -> Iterable[str]:
    yield f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="4"/>'
    yield _text(x + 12, y + height // 2 + 5, text)


def _arrow(x: int, y: int, to_x: int, to_y: int, text: str) -> Iterable[str]:
    """To the right, or straight down or up."""
    yield f'<path class="arrow" d="M{x} {y}L{to_x} {to_y}"/>'
    yield _head(to_x, to_y, down=to_y - y)
    yield _text(x + 8, (y + to_y) // 2 - 6 if y == to_y else (y + to_y) // 2 + 5, text)


def _head(x: int, y: int, *, left: bool = False, down: int = 0) -> str:
    """The head of an arrow that ends at a place; it points to the right unless told otherwise."""
    degrees = 180 if left else 0 if down == 0 else 90 if down > 0 else -90
    return f'<path class="head" d="M0 0L-9 -4V4Z" transform="translate({x} {y}) rotate({degrees})"/>'


def _text(x: int | str, y: int, text: str, kind: str = "") -> str:
    attribute = f' class="{kind}"' if kind else ""
    return f'<text{attribute} x="{x}" y="{y}">{escape(text)}</text>'


def _svg(seconds: int, height: int, parts: Iterable[str]) -> str:
    return _canvas(_LEFT + seconds * _SECOND + 40, height, parts)


def _canvas(width: int, height: int, parts: Iterable[str]) -> str:
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size}>\n<style>{_STYLE}</style>\n'
        f'<rect width="100%" height="100%" fill="#fff"/>\n{body}\n</svg>\n'
    )


if __name__ == "__main__":
    main()

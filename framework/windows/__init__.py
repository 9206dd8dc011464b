"""Windows: groups of records by event time.

A processor with windows derives from `WindowedProcessor`, and sets `windows`::

    class PageViews(WindowedProcessor):
        api_version = 1
        windows = Tumbling("1m", grace="10s")

        def start(self):
            return 0

        def add(self, count, record):
            return count + 1

        def emit(self, window, count, out):
            out.send("views-by-minute", {"start": window.start, "views": count}, key=window.key)
"""

from framework.windows.aligned import WindowState
from framework.windows.keeper import Window
from framework.windows.kinds import Hopping, Session, Sliding, Tumbling, Windows
from framework.windows.processor import WindowedProcessor

__all__ = ["Hopping", "Session", "Sliding", "Tumbling", "Window", "WindowState", "WindowedProcessor", "Windows"]

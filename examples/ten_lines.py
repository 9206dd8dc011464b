from framework import Processor


class Visits(Processor):
    """Counts the visits of each page."""

    api_version = 1

    def process(self, record, state, out):
        state[record.key] = state.get(record.key, 0) + 1

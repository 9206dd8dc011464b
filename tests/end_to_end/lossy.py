"""A plugin file: one processor that goes wrong in a way that FAULT names, on the record whose value is `bad`.

It remembers every value, so what a run with FAULT empty lacks afterwards was lost.
"""

import asyncio
import math
import os
import sys
import time

from framework import Processor, RecordError, TallyError, hookimpl

FAULT = os.environ.get("FAULT", "")


class Lossy(Processor):
    api_version = 1
    key_format = "bytes"

    def process(self, record, state, out):
        text = (record.value or b"").decode()
        state[text] = state.get(text, 0) + 1
        if "OUT" in os.environ:
            headers = [("trace", "text, not bytes")] if (FAULT, text) == ("header", "bad") else []
            out.send(os.environ["OUT"], text or "empty", headers=headers)
        if text != "bad":
            return
        match FAULT:
            case "unstorable":  # building the error message fails: repr of so large an int raises ValueError
                state[10**5000] = object()
            case "systemexit":
                raise SystemExit(0)
            case "cancelled":
                raise asyncio.CancelledError
            case "nan":
                state[math.nan] = state.get(math.nan, 0) + 1
            case "alias":
                state["one"] = state["two"] = []
            case "error" | "observer":
                raise RecordError("refused")
            case "tally":
                raise TallyError("not this state's")
            case "null-output":
                out.send(os.environ["OUT"], None)
            case "never":
                sys.stderr.write("at it\n")
                sys.stderr.flush()
                time.sleep(1000)


@hookimpl
def framework_processors():
    return [Lossy]


@hookimpl
def framework_records_failed(plugin, partition, errors, on_error):
    if FAULT == "observer":
        raise RecordError("an observer has no say in this")

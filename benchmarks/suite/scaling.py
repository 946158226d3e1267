"""How times grow: exponents of power laws through the figures of the other sections."""

from __future__ import annotations

from collections.abc import Sequence

from suite.context import Context
from suite.subtraction import PHASES
from suite.timing import Record, exponent, printTable

LEAST_SIZE = 2048  # px: below, the work of a field is not yet proportional to its pixels


def measure(context: Context) -> list[Record]:
    """Derive the exponents; sections that have not run are left out."""
    records: list[Record] = []
    whole = [r for r in context.records.get("subtraction", []) if r["kernel"] == "AL"]
    convolutions = context.records.get("convolution", [])
    for threads in context.threads:
        sizes = [r for r in whole if r["threads"] == threads]
        large = [r for r in sizes if r["size"] >= LEAST_SIZE]
        for name in ("total", *PHASES):
            pairs = [(r["size"] ** 2, r[name] / r["size"] ** 2) for r in large or sizes]
            _add(records, f"{name}: time per pixel against pixels", threads, pairs)
        rows = [r for r in convolutions if r["threads"] == threads]
        sweep = [r for r in rows if r["size"] == min(r["size"] for r in rows)]
        for key, label in (("imageMs", "image"), ("allMs", "all planes")):
            sides = [(r["side"], r[key]) for r in sweep if r["order"] == 2]
            _add(records, f"convolution, {label}: time against side of the kernel", threads, sides)
            orders = [(r["order"] + 1, r[key]) for r in sweep if r["side"] == 21]
            _add(records, f"convolution, {label}: time against order + 1", threads, orders)
            fourth = {r["order"]: r[key] for r in rows if r["side"] == 21 and r["size"] == max(q["size"] for q in rows)}
            if {2, 4} <= fourth.keys():
                ratio = fourth[4] / fourth[2]
                records.append({"what": f"convolution, {label}: order 4 over order 2", "threads": threads, "x": ratio})
        for r in large:
            if r["size"] != large[0]["size"]:
                ratio = r["nsPerPixel"] / large[0]["nsPerPixel"]
                label = f"total: time per pixel, {r['size']} px over {large[0]['size']} px"
                records.append({"what": label, "threads": threads, "x": ratio})
    return records


def _add(records: list[Record], what: str, threads: int, pairs: Sequence[tuple[float, float]]) -> None:
    if len({x for x, _ in pairs}) > 1:
        records.append({"what": what, "threads": threads, "exponent": exponent(pairs)})


def show(records: list[Record]) -> None:
    """Print the table."""
    printTable(
        "Scaling",
        [("", "what", "s"), ("threads", "threads", "d"), ("exponent", "exponent", "+.2f"), ("ratio", "x", ".2f")],
        records,
        ["goals: 0.8 to 1.25 for time per pixel from 2048 px, at most 1.6 for order 4 over order 2"],
    )

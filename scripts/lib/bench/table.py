"""The summary for people, as a table."""

from statistics import mean

import targets
from summary import DROPS_AT_MOST, dropped, session_goodputs, value_of

MB = 1e6


def table(results):
    lines = []
    for case in results["cases"]:
        lines += ["", f"{case['case']}: {case['title']}, {size(case['payload_bytes'])}", *rows(case)]
    if results["targets"]:
        rows_of_targets = list(targets.rows(results["targets"], results["builds"]))
        lines += ["", "what the project wants of itself", *columns(rows_of_targets, left=2)]
    lines += ["", "median and range of right runs; ×: how many times better mcast does; right: runs with every byte right at",
              "every receiver and every exit code 0; MiB (peak resident) and CPU s/GiB: sender / receiver",
              machine(results["machine"])]
    return "\n".join(lines).lstrip("\n")


def rows(case):
    goodput = case["measure"] == "goodput"
    head = ["", "median", "range", "×", "right"] + (["MiB", "CPU s/GiB"] if goodput else [])
    cells, below = [head], []
    for one in case["programs"]:
        row = [one["label"], written(case["measure"], one["median"]), spread(case["measure"], one),
               number(one["mcast_is_times_better"], 2), f"{one['right']}/{one['runs']}"]
        if goodput:
            row += [pair(one, "peak_mib", 0), pair(one, "cpu_s_per_gib", 2)]
        cells.append(row)
        below += [f"    {one['label']}: {note}" for note in one["notes"]]
        if one["verified"] not in ("right", None):
            below.append(f"    {one['label']}: the verification was not right")
        below += [f"    {one['label']}: {remark}" for remark in remarks(one)]
    return columns(cells) + below


def columns(cells, left=1):
    """Rows of words as lines; so many columns are flush left, the others flush right."""
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return ["  " + "  ".join(cell.ljust(width) if column < left else cell.rjust(width)
                             for column, (cell, width) in enumerate(zip(row, widths))).rstrip() for row in cells]


def remarks(one):
    """What the columns have no room for."""
    if one.get("sent_per_source_symbol"):
        least = f"; least possible {one['least_possible']:.4f} (k = {one['block_symbols']})" if one["least_possible"] else ""
        yield f"{one['sent_per_source_symbol']:.4f} symbols sent per source symbol{least}"
    if one.get("line_payload_rate") and one["median"]:
        share = one["median"] / one["line_payload_rate"]
        yield f"{share:.1%} of the line's payload rate, {one['line_payload_rate'] / MB:.1f} MB/s"
    if one.get("session_goodput"):
        yield f"a session by itself {one['session_goodput'] / MB:.1f} MB/s, the mean of all"
    if "dropped_all" in one:
        for span, words in (("all", "in all"), ("first_second", "in the first second"), ("later", "later")):
            if drops := one.get(f"dropped_{span}"):
                yield (f"dropped at the slower port {words}: mean {drops['mean']:.2%}, at worst {drops['worst']:.2%}, above"
                       f" {DROPS_AT_MOST:.0%} in {drops['above_target']} of {drops['sessions']} sessions")
    if "median_beside_first_build" in one:
        yield f"{one['median_beside_first_build']:.2f} times {one['first_build']}"
    if "share_of_raw" in one:
        yield f"{one['share_of_raw']:.1%} of raw GSO multicast"
    if "share_of_raw_pipe" in one:
        yield f"{one['share_of_raw_pipe']:.1%} of raw GSO multicast that reads a pipe"
    if "share_of_plain" in one:
        yield f"{one['share_of_plain']:.1%} of plain mcast"
    if "arrived" in one:
        yield f"{one['arrived']:.1%} of the bytes arrived at a receiver; only they count"
    if "instructions_per_byte" in one:
        sides = ", ".join(f"{side} {count:.2f}" for side, count in one["instructions_per_byte"].items())
        yield f"user-space instructions per byte: {sides}"


def spread(measure, one):
    if one["median"] is None or one["runs"] < 2:
        return ""
    low, high = (written(measure, one[key]).split()[0] for key in ("least", "most"))
    return f"{low} to {high}"


def pair(one, key, digits):
    return f"{number(one['sender_' + key], digits)} / {number(one['receiver_' + key], digits)}"


def number(value, digits):
    return "–" if value is None else f"{value:,.{digits}f}"


def size(payload):
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB")):
        if payload >= unit:
            return f"{payload / unit:g} {name}"
    return f"{payload / 1024:g} KiB"


def machine(facts):
    return (f"machine: {facts['cpu']}, {facts['cores']} cores, {facts['kernel']};"
            f" load at start {facts['load_at_start']}; {facts['date']}")


# --- figures

def figure(case, run):
    """What the case measures, of one run."""
    return written(case.measure, value_of(case.measure, run))


def port_remark(run):
    """What the slower ports dropped in one run, and how fast its sessions were where there are several."""
    words = ""
    goodputs = [value for value in session_goodputs(run) if value] if run.get("sessions") else []
    if goodputs:
        words += f"  a session {min(goodputs) / MB:.1f} to {max(goodputs) / MB:.1f}, mean {mean(goodputs) / MB:.1f} MB/s"
    for span, name in (("all", "dropped"), ("first_second", "first second"), ("later", "later")):
        if len(shares := dropped([run], span)) > 1:
            words += f"  {name} {min(shares):.2%} to {max(shares):.2%}, mean {mean(shares):.2%}"
        elif shares:
            words += f"  {name} {shares[0]:.2%}"
    return words


def written(measure, value):
    if value is None:
        return "–"
    if measure == "goodput":
        return f"{value / MB:,.{0 if value >= 1000 * MB else 1}f} MB/s"
    if measure == "instructions":
        return f"{value:.2f} a byte"
    return f"{value * 1000:,.1f} ms"

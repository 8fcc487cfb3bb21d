"""Medians and ratios of the runs, as a table and as JSON."""

import json
from statistics import median

from cases import BLOCK_SYMBOLS, least_transmissions
from programs import PROGRAMS

MB = 1e6


def value_of(case_measure, run):
    """What the case measures, of one run: bytes a second, or seconds."""
    if case_measure == "goodput":
        return run["payload_bytes"] / run["data_s"] if run.get("data_s") else None
    return run.get("sender_life_s" if case_measure == "life" else "tail_s")


def figure(case, run):
    """The same for people."""
    return written(case.measure, value_of(case.measure, run))


def written(measure, value):
    if value is None:
        return "–"
    if measure == "goodput":
        return f"{value / MB:,.{0 if value >= 1000 * MB else 1}f} MB/s"
    return f"{value * 1000:,.1f} ms"


def summarise(cases, runs, facts):
    """A dictionary for each case, with one for each program and variant in it."""
    summaries = []
    for case in cases:
        entries = []
        for name in case.programs:
            for variant, lab in case.labs().items():
                which = (case.name, name, variant)
                own = [run for run in runs if (run["case"], run["program"], run["variant"]) == which]
                if own:
                    entries.append(entry(case, name, variant, lab, own))
        compare(case, entries)
        if entries:
            summaries.append({"case": case.name, "title": case.title, "measure": case.measure,
                              "payload_bytes": max(run["payload_bytes"] for run in runs if run["case"] == case.name),
                              "programs": entries})
    return {"machine": facts, "cases": summaries}


def entry(case, name, variant, lab, runs):
    timed = [run for run in runs if run["round"] > 0]
    right = [run for run in timed if run["outcome"] == "right"]
    values = [value for run in right if (value := value_of(case.measure, run)) is not None]
    summary = {
        "program": name, "variant": variant, "label": " ".join(filter(None, (PROGRAMS[name].label, variant))),
        "runs": len(timed), "right": len(right),
        "median": median(values) if values else None,
        "least": min(values, default=None), "most": max(values, default=None),
        "outcomes": {outcome: sum(run["outcome"] == outcome for run in timed) for outcome in
                     ("right", "wrong", "failed", "cut off")},
        "verified": next((run["outcome"] for run in runs if run["round"] == 0), None),
        "notes": notes(runs),
    }
    if case.measure == "goodput":
        summary |= usage(right or timed)
        summary |= symbols(lab, right)
    return summary


def usage(runs):
    """Peaks are the highest of any run and receiver; CPU seconds are medians, for receivers of their mean."""
    summary = {}
    # All timed runs of a case send the same bytes.
    gib = runs[0]["payload_bytes"] / (1 << 30) if runs else 1
    sides = {"sender": [[run["sender"]] for run in runs if "sender" in run],
             "receiver": [run["receivers"] for run in runs if "receivers" in run]}
    for side, groups in sides.items():
        weighed = [[one for one in group if "peak_kib" in one] for group in groups]
        peaks = [one["peak_kib"] for group in weighed for one in group]
        means = [sum(one["cpu_s"] for one in group) / len(group) for group in weighed if group]
        summary[f"{side}_peak_mib"] = round(max(peaks) / 1024, 1) if peaks else None
        summary[f"{side}_cpu_s_per_gib"] = round(median(means) / gib, 2) if means else None
    return summary


def symbols(lab, runs):
    """What mcast put on the wire, and what it could not have done without."""
    sent = [run for run in runs if (run.get("wire") or {}).get("source_symbols")]
    if not sent:
        return {}
    symbol_bytes = median(run["payload_bytes"] / run["wire"]["source_symbols"] for run in sent)
    line = lab.payload_rate(symbol_bytes)
    return {
        "sent_per_source_symbol": round(median(
            1 + run["wire"]["repair_symbols"] / run["wire"]["source_symbols"] for run in sent), 4),
        "least_possible": round(least_transmissions(lab.receivers, lab.loss_percent), 4),
        "line_payload_rate": round(line) if line else None,
    }


def notes(runs):
    """Every way in which runs went wrong, with how often."""
    counted = {}
    for run in runs:
        if run["outcome"] != "right":
            told = run["outcome"] in run["note"]
            text = run["note"] if told else f"{run['outcome']}: {run['note']}"
            counted[text] = counted.get(text, 0) + 1
    return [f"{text} ({count}×)" if count > 1 else text for text, count in counted.items()]


def compare(case, entries):
    """How many times better the mcast that writes to the same kind of output is; between variants, the first one."""
    for one in entries:
        beside = "mcast-null" if one["program"].endswith("-null") else "mcast"
        base = next((other for other in entries if other["program"] == beside), None)
        one["mcast_is_times_better"] = None
        if base and base is not one and base["median"] and one["median"] and one["program"] != "mcast-null":
            ratio = base["median"] / one["median"] if case.measure == "goodput" else one["median"] / base["median"]
            one["mcast_is_times_better"] = round(ratio, 3)


def write_json(path, results, runs):
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"schema": 1, **results, "runs": runs}, file, indent=1, ensure_ascii=False)
        file.write("\n")


# --- the table

def table(results):
    lines = []
    for case in results["cases"]:
        lines += ["", f"{case['case']}: {case['title']}, {size(case['payload_bytes'])}", *rows(case)]
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
        if one.get("sent_per_source_symbol"):
            below.append(f"    {one['label']}: {one['sent_per_source_symbol']:.4f} symbols sent per source symbol;"
                         f" least possible {one['least_possible']:.4f} (k = {BLOCK_SYMBOLS})")
            if one["line_payload_rate"] and one["median"]:
                share = one["median"] / one["line_payload_rate"]
                below.append(f"    {one['label']}: {share:.1%} of the line's payload rate,"
                             f" {one['line_payload_rate'] / MB:.1f} MB/s")
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    return ["  " + "  ".join(cell.ljust(width) if column == 0 else cell.rjust(width)
                             for column, (cell, width) in enumerate(zip(row, widths))) for row in cells] + below


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

"""Medians and ratios of the runs, and both as JSON."""

import json
from statistics import mean, median

from cases import least_transmissions
from programs import PROGRAMS

# The share of its frames that a slower port may drop, a target of busy.
DROPS_AT_MOST = 0.02


def value_of(case_measure, run):
    """What the case measures, of one run: bytes a second, seconds, or instructions a byte at both ends."""
    if case_measure == "instructions":
        return sum(run["instructions_per_byte"].values()) if run.get("instructions_per_byte") else None
    if run.get("arrived_bytes_per_s"):
        return run["arrived_bytes_per_s"]
    if case_measure == "goodput":
        return run["payload_bytes"] / run["data_s"] if run.get("data_s") else None
    return run.get("sender_life_s" if case_measure == "life" else "tail_s")


def summarise(cases, runs, facts, builds):
    """A dictionary for each case, with one for each program, variant and build in it."""
    summaries = []
    for case in cases:
        entries = []
        for name in case.programs:
            for variant, lab in case.labs().items():
                for build in builds if PROGRAMS[name].ours else [""]:
                    which = (case.name, name, variant, build)
                    own = [run for run in runs
                           if (run["case"], run["program"], run["variant"], run["build"]) == which]
                    if own:
                        entries.append(entry(case, name, variant, build, lab, own))
        for build in builds:
            # The peers are compared with the last build.
            compare(case, [one for one in entries if one["build"] in (build, "")])
        compare_builds(entries)
        if entries:
            summaries.append({"case": case.name, "title": case.title, "measure": case.measure,
                              "payload_bytes": max(run["payload_bytes"] for run in runs if run["case"] == case.name),
                              "programs": entries})
    return {"machine": facts, "builds": builds, "cases": summaries}


def entry(case, name, variant, build, lab, runs):
    timed = [run for run in runs if run["round"] > 0]
    right = [run for run in timed if run["outcome"] == "right"]
    values = [value for run in right if (value := value_of(case.measure, run)) is not None]
    summary = {
        "program": name, "variant": variant, "build": build,
        "label": " ".join(filter(None, (PROGRAMS[name].label, variant, build))),
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
        summary |= symbols(case, lab, right)
        summary |= ports(right)
    if case.sessions > 1:
        means = [mean(session_goodputs(run)) for run in right if all(session_goodputs(run))]
        summary["session_goodput"] = median(means) if means else None
    if case.measure == "instructions" and right:
        summary["instructions_per_byte"] = {side: round(median(run["instructions_per_byte"][side] for run in right), 3)
                                            for side in ("sender", "receiver")}
    if arrived := [one["bytes"] / run["payload_bytes"] for run in right if "arrived_bytes_per_s" in run
                   for one in run["receivers"]]:
        summary["arrived"] = round(median(arrived), 3)
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


def session_goodputs(run):
    """Bytes a second of each session of one run, None where it has no time."""
    return [value_of("goodput", session) for session in run.get("sessions", [run])]


def dropped(runs, span):
    """The share of frames that the slower port of each session dropped in "all" of its time, in the "first_second" of
    data, or "later"."""
    sessions = [session for run in runs for session in run.get("sessions", [run])]
    shares = [(session["port"][span] or {}).get("lost") for session in sessions if session.get("port")]
    return [share for share in shares if share is not None]


def ports(runs):
    """What slower ports dropped: mean and worst of all sessions of all runs, their number, and how many are too many."""
    summary = {}
    for span in ("all", "first_second", "later"):
        if shares := dropped(runs, span):
            summary[f"dropped_{span}"] = {
                "mean": round(mean(shares), 6), "worst": max(shares), "sessions": len(shares),
                "above_target": sum(share > DROPS_AT_MOST for share in shares)}
    return summary


def symbols(case, lab, runs):
    """What mcast put on the wire, and what it could not have done without."""
    sent = [run for run in runs if (run.get("wire") or {}).get("source_symbols")]
    if not sent:
        return {}
    symbol_bytes = median(run["payload_bytes"] / run["wire"]["source_symbols"] for run in sent)
    line = case.sessions * (lab.payload_rate(symbol_bytes) or 0)
    k = sent[0]["block_symbols"]
    return {
        "sent_per_source_symbol": round(median(
            1 + run["wire"]["repair_symbols"] / run["wire"]["source_symbols"] for run in sent), 4),
        "block_symbols": k,
        "least_possible": round(least_transmissions(lab.receivers, lab.loss_percent, k), 4) if k else None,
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
    """How many times better the mcast that writes to the same kind of output is, between variants the first one; and
    which share of the ceilings mcast reaches, and of its own speed without a key."""
    medians = {one["program"]: one["median"] for one in entries}
    for one in entries:
        mcast = one["program"].startswith("mcast") and one["median"]
        if mcast and medians.get("raw"):
            one["share_of_raw"] = round(one["median"] / medians["raw"], 4)
        if mcast and medians.get("raw-pipe"):
            one["share_of_raw_pipe"] = round(one["median"] / medians["raw-pipe"], 4)
        if one["program"] == "mcast-key" and mcast and medians.get("mcast") and case.measure == "goodput":
            one["share_of_plain"] = round(one["median"] / medians["mcast"], 4)
        beside = "mcast-null" if one["program"].endswith("-null") else "mcast"
        base = next((other for other in entries if other["program"] == beside), None)
        one["mcast_is_times_better"] = None
        peer = one["program"] not in ("mcast-null", "raw", "raw-pipe")
        if base and base is not one and base["median"] and one["median"] and peer:
            ratio = base["median"] / one["median"] if case.measure == "goodput" else one["median"] / base["median"]
            one["mcast_is_times_better"] = round(ratio, 3)


def compare_builds(entries):
    """The figures of each build as multiples of those of the first one."""
    first = {(one["program"], one["variant"]): one for one in reversed(entries) if one["build"]}
    for one in entries:
        base = first.get((one["program"], one["variant"]), one)
        for key in ("median", "session_goodput") if base is not one else ():
            if one.get(key) and base.get(key):
                one[f"{key}_beside_first_build"] = round(one[key] / base[key], 4)
                one["first_build"] = base["build"]


def write_json(path, results, runs):
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"schema": 1, **results, "runs": runs}, file, indent=1, ensure_ascii=False)
        file.write("\n")

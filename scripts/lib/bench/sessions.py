"""Several sessions at the same time, each with a lab, a sender and receivers of its own."""

from concurrent.futures import ThreadPoolExecutor, wait
from threading import Barrier

from trial import Failed, HeldBack, seconds


def side_by_side(trials):
    """Runs them in a thread each, and starts their senders together; a dictionary like that of one trial, in which
    `payload_bytes`, processor time and symbols are sums, and `sessions` has the dictionary of each."""
    barrier = Barrier(len(trials))
    for trial in trials:
        trial.barrier = barrier
    with ThreadPoolExecutor(len(trials)) as pool:
        futures = [pool.submit(trial.run) for trial in trials]
        try:
            wait(futures)
        except BaseException:
            # A signal to this bench: each thread ends its programs before the pool lets go of it.
            for trial in trials:
                trial.give_up()
            raise
    failures = [future.exception() for future in futures if future.exception()]
    if failures:
        # The session that failed has the reason; the others could only not start without it.
        raise min(failures, key=lambda failure: isinstance(failure, HeldBack))
    return together(trials, [future.result() for future in futures])


def together(trials, results):
    starts, ends = [trial.data for trial in trials], [trial.end for trial in trials]
    bad = [(number, result) for number, result in enumerate(results, 1) if result["outcome"] != "right"]
    return {
        "payload_bytes": sum(result["payload_bytes"] for result in results),
        "outcome": bad[0][1]["outcome"] if bad else "right",
        "note": "; ".join(f"session {number}: {result['note']}" for number, result in bad),
        # From the first session's first data to the last session's last receiver.
        "data_s": seconds(min(starts), max(ends)) if all(starts) and all(ends) else None,
        "sender": combined([result["sender"] for result in results]),
        "receivers": [combined(alike) for alike in zip(*(result["receivers"] for result in results))],
        "checked": results[0]["checked"],
        "block_symbols": results[0]["block_symbols"],
        "wire": {key: sum(result["wire"][key] or 0 for result in results) for key in results[0]["wire"]},
        "sessions": results,
    }


def combined(processes):
    """What the same process of each session took: processor time of all, and the peak memory of the largest."""
    weighed = all("peak_kib" in process for process in processes)
    usage = {"cpu_s": round(sum(process["cpu_s"] for process in processes), 2),
             "peak_kib": max(process["peak_kib"] for process in processes)} if weighed else {}
    return {"exit_code": max(process["exit_code"] for process in processes), **usage}

"""User-space instructions per byte, counted by callgrind: unlike times they do not drift with the machine and its load."""

# Callgrind makes a program some 50 times slower, and its threads take turns: peers must not take each other for dead.
PATIENCE = ["--peer-timeout", "2m"]
LIMIT = 120
# Counts of two rounds are a few per cent apart, as the threads happen to take turns; more rounds would tell no more.
ROUNDS = 2


def per_byte(transfer, size):
    """`transfer(size)` is one run under callgrind, as Trial.run returns it. Start and end cost the same at any size, as
    do buffers once window and buffer, 8 and 32 MiB, have been filled, so the difference of two runs is what the bytes cost."""
    small = transfer(size // 2)
    large = transfer(size) if small["outcome"] == "right" else small
    if large["outcome"] != "right":
        return large
    sides = [(small["sender"], large["sender"]), (small["receivers"][0], large["receivers"][0])]
    if not all("instructions" in run for pair in sides for run in pair):
        return large | {"outcome": "failed", "note": "callgrind left no count"}
    between = large["payload_bytes"] - small["payload_bytes"]
    sender, receiver = (round((more["instructions"] - less["instructions"]) / between, 3) for less, more in sides)
    return large | {"instructions_per_byte": {"sender": sender, "receiver": receiver}}

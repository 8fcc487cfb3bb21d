"""The medians as a picture: a panel for each case, a bar for each program."""

from html import escape

from programs import PROGRAMS
from table import machine, size, written

WIDTH, MARGIN, COLUMNS = 960, 24, 2
LABEL, BAR, PITCH, TITLE, GAP = 150, 16, 22, 26, 22
# Room for the figure behind the longest bar.
FIGURE = 110

HOW_TO_READ = "median goodput, longer bars are better; in tiny and tail median times, shorter bars are better"


def write_svg(path, results):
    with open(path, "w", encoding="utf-8") as file:
        file.write(svg(results))


def svg(results):
    cases = [drawn(case) for case in results["cases"] if case["measure"] != "instructions"]
    wide = (WIDTH - 2 * MARGIN - (COLUMNS - 1) * GAP) / COLUMNS
    heights = [TITLE + PITCH * len(case["programs"]) for case in cases]
    tops = [MARGIN + 24] * COLUMNS
    panels = []
    for case, height in zip(cases, heights):
        column = tops.index(min(tops))
        panels += panel(case, MARGIN + column * (wide + GAP), tops[column], wide)
        tops[column] += height + GAP
    height = max(tops) + 18
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
        ' role="img" font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif" fill="#1f2933">',
        "<title>mcast beside its peers</title>",
        # Its own ground, for pages that are dark.
        f'<rect width="{WIDTH}" height="{height}" rx="8" fill="#ffffff"/>',
        text(MARGIN, MARGIN + 6, "mcast beside its peers", weight=600, after=HOW_TO_READ),
        *panels,
        text(MARGIN, height - 14, machine(results["machine"]), fill="#6b7785", size=11),
        "</svg>", ""])


def drawn(case):
    """The case without the ceiling, beside which the bars would be short; it goes into the title."""
    raw = next((one for one in case["programs"] if one["program"] == "raw" and one["median"]), None)
    return {**case, "programs": [one for one in case["programs"] if one["program"] != "raw"],
            "ceiling": f"; raw multicast {written(case['measure'], raw['median'])}" if raw else ""}


def panel(case, left, top, wide):
    goodput = case["measure"] == "goodput"
    title = f"{'' if goodput else 'time, '}{case['title']}, {size(case['payload_bytes'])}{case['ceiling']}"
    longest = max((one["median"] for one in case["programs"] if one["median"]), default=1)
    parts = [text(left, top + 12, case["case"], weight=600, after=title)]
    for index, one in enumerate(case["programs"]):
        y = top + TITLE + index * PITCH
        start, room = left + LABEL, wide - LABEL - FIGURE
        parts.append(text(start - 8, y + BAR - 4, one["label"], anchor="end"))
        length = max(1.5, room * one["median"] / longest) if one["median"] else 0
        if length:
            parts.append(f'<rect x="{start:.1f}" y="{y}" width="{length:.1f}" height="{BAR}" rx="2"'
                         f' fill="{color(one)}"><title>{escape(one["label"])}</title></rect>')
        bold = 600 if one["program"].startswith("mcast") else 400
        figure = written(case["measure"], one["median"]) if one["median"] else "no right run"
        parts.append(text(start + length + 6, y + BAR - 4, figure, weight=bold, after=shortfall(one), alarm=True))
    return parts


def color(one):
    return PROGRAMS[one["program"]].color


def shortfall(one):
    """What a bar alone would hide."""
    if one["right"] == one["runs"]:
        return ""
    bad = [f"{outcome} {count}×" for outcome, count in one["outcomes"].items() if count and outcome != "right"]
    return f"of {one['runs']}: {', '.join(bad)}"


def text(x, y, words, *, anchor="start", weight=400, fill=None, size=12, after="", alarm=False):
    look = f' text-anchor="{anchor}" font-weight="{weight}" font-size="{size}"' + (f' fill="{fill}"' if fill else "")
    if after:
        ink = "#b3261e" if alarm else "#52606d"
        after = f'<tspan dx="6" fill="{ink}" font-weight="400" font-size="11">{escape(after)}</tspan>'
    return f'<text x="{x:.1f}" y="{y:.1f}"{look}>{escape(words)}{after}</text>'

"""Tables and plots of a race. The tables are Markdown, as docs/performance.md has them."""

from collections.abc import Sequence
from pathlib import Path

from bench.common import markdown
from bench.peers.job import Job
from bench.peers.promises import ratios
from bench.peers.race import Entry
from feedline.training import plots


def report(entries: Sequence[Entry], job: Job) -> str:
    """Speeds and conditions, fastest first; who could not run, with the reason; and the promised ratios."""
    ran = fastest_first(entries)
    parts = [_speeds(ran)] if ran else []
    parts.append(_conditions(ran or [e for e in entries if not e.problem], job))
    if any(e.agreement.differs for e in entries):
        parts.append("(*) Not the same pixels, or not the same order: see the last column.")
    if missing := [f"{e.contestant.name}: {e.problem}" for e in entries if e.problem]:
        parts.append("\n".join(missing))
    if sentences := [ratio.sentence() for ratio in ratios(entries, job.work)]:
        parts.append(". ".join(sentences) + ".")
    return "\n\n".join(parts)


def fastest_first(entries: Sequence[Entry]) -> list[Entry]:
    """Those that ran."""
    return sorted((e for e in entries if e.rounds and not e.problem), key=lambda e: -e.median("images_per_s"))


def _name(entry: Entry) -> str:
    """Ours are bold; whose pixels differ has a mark, which the table of conditions explains."""
    name = f"**{entry.contestant.name}**" if entry.contestant.ours else entry.contestant.name
    return f"{name} (*)" if entry.agreement.differs else name


def _speeds(ran: Sequence[Entry]) -> str:
    best = max((e.median("images_per_s") for e in ran if e.contestant.ours), default=0.0)
    head = ["", "images/s", "lowest - highest", "best of ours is", "CPU us/image", "memory, MiB", "first batch, s"]
    rows = []
    for entry in ran:
        speed = entry.median("images_per_s")
        rows.append(
            [
                _name(entry),
                f"{speed:,.0f}",
                f"{min(entry.speeds):,.0f} - {max(entry.speeds):,.0f}",
                f"{best / speed:.2f} x",
                f"{entry.median('cpu_us'):.1f}",
                f"{max(r['memory_mib'] for r in entry.rounds):,.0f}",
                f"{min(entry.first_batch_s):.1f}",
            ]
        )
    return markdown(head, rows)


def _conditions(ran: Sequence[Entry], job: Job) -> str:
    contestants = [e for e in ran if not e.contestant.floor]
    head = ["", *(contestants[0].conditions(job) if contestants else ())]
    return markdown(head, ([_name(e), *e.conditions(job).values()] for e in contestants))


def picture(path: Path, entries: Sequence[Entry], title: str) -> None:
    """A bar chart of those that ran."""
    ran = fastest_first(entries)
    rows = [(e.contestant.name, e.median("images_per_s"), min(e.speeds), max(e.speeds)) for e in ran]
    colours = [plots.BLUE if e.contestant.ours else plots.PALE if e.contestant.floor else plots.GRAY for e in ran]
    plots.bars(path, rows, "images/s (median and range)", title, colours)

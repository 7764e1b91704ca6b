"""The sections on where the numbers come from: what failed, the machine, the versions, the commands."""

from __future__ import annotations

import json

from spcnet.benchmarks.report.records import Records, flat, words
from spcnet.common.document import note, paragraph, section, table
from spcnet.common.drawing import clean


def failed(records: Records) -> str:
    """The runs that failed, and remarks on result files; empty where there are none."""
    rows = [
        (tracker, sequence, sentence)
        for tracker, by_sequence in records.accuracy["failed"].items()
        for sequence, sentence in by_sequence.items()
    ]
    remarks = records.accuracy["remarks"]
    parts = [note("Remarks on result files", remarks)] if remarks else []
    if rows:
        header = ("tracker", "sequence", "what happened")
        said = "Means are over the sequences that every tracker finished: these sequences count for none."
        parts += [paragraph(said), table("failed runs", header, rows, ())]
    return section("Failed runs", *parts, key="failed") if parts else ""


def provenance(records: Records, command: str) -> str:
    """The machine, the versions and the commands, to measure the same again."""
    parts = []
    machines: dict[str, list[str]] = {}  # as JSON -> the records of it
    for name, record in records._asdict().items():
        if "machine" in record:
            machines.setdefault(json.dumps(record["machine"]), []).append(name)
    for machine, names in machines.items():
        rows = [(key, words(value)) for key, value in json.loads(machine).items()]
        parts.append(f"<h3>Machine and versions <small>{', '.join(names)}</small></h3>")
        parts.append(table("machine and versions", ("", ""), rows, ()))
    if records.speed:
        during = dict(records.speed["conditions"])
        before, after = flat(during.pop("before")), flat(during.pop("after"))
        states = [(key, before.get(key, "–"), after.get(key, "–")) for key in {**before, **after}]
        states += [(key, value, "") for key, value in flat(during).items()]
        parts.append("<h3>State of the machine while times were taken</h3>")
        parts.append(table("state of the machine", ("", "before, or during", "after"), states, ()))
    identities = {name: one["identity"] for name, one in records.accuracy["trackers"].items()}
    parts.append(
        "<h3>Trackers</h3>" + paragraph("Models by their SHA-256, peers by what they say of their version.")
    )
    parts.append(table("identity of the trackers", ("tracker", "identity"), list(identities.items()), ()))
    timed = records.speed.get("trackers", {})
    differing = [n for n, identity in identities.items() if n in timed and timed[n]["identity"] != identity]
    if differing:
        parts.append(paragraph(f"Times were taken of another version of {', '.join(differing)}.", "caution"))
    commands = [*(record["command"] for record in records if "command" in record), command]
    lines = "\n".join(map(clean, commands))
    parts.append(f'<h3>The same again</h3><pre tabindex="0">{lines}</pre>')
    return section("Machine, versions, commands", *parts, key="origin")

"""The sections on where the numbers come from: what failed, the machine, the versions, the commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from spcnet.benchmarks.report.records import Records, flat, part, sentences, words
from spcnet.common.document import note, paragraph, section, table
from spcnet.common.drawing import clean


def failed(records: Records) -> str:
    """Runs that did not end well; nothing where all did."""
    rows = [
        (tracker, sequence, words(sentence))
        for tracker, by_sequence in part(records.accuracy, "failed").items()
        for sequence, sentence in part(by_sequence).items()
    ]
    remarks = sentences(records.accuracy, "remarks")
    parts = [note("Remarks on result files", remarks)] if remarks else []
    if rows:
        header = ("tracker", "sequence", "what happened")
        said = "Means are over the sequences that every tracker finished: these sequences count for none."
        parts += [paragraph(said), table("failed runs", header, rows, ())]
    return section("Failed runs", *parts, key="failed") if parts else ""


def provenance(records: Records, command: str) -> str:
    """The section that lets somebody measure the same again."""
    parts = []
    machines: dict[str, Mapping[str, object]] = {}
    for name, record in records._asdict().items():
        if found := part(record, "machine"):
            same = next((kind for kind, other in machines.items() if other == found), None)
            if same:
                machines[f"{same}, {name}"] = machines.pop(same)
            else:
                machines[name] = found
    for names, machine in machines.items():
        parts.append(f"<h3>Machine and versions <small>{clean(names)}</small></h3>")
        parts.append(table("machine and versions", ("", ""), [(k, words(v)) for k, v in machine.items()], ()))
    before, after = (flat(part(records.speed, "conditions", when)) for when in ("before", "after"))
    rows = [(key, before.get(key, "–"), after.get(key, "–")) for key in {**before, **after}]
    during = {k: v for k, v in part(records.speed, "conditions").items() if k not in ("before", "after")}
    rows += [(key, value, "") for key, value in flat(during).items()]
    if rows:
        parts.append("<h3>State of the machine while times were taken</h3>")
        parts.append(table("state of the machine", ("", "before, or during", "after"), rows, ()))
    identities = {
        name: words(part(records.accuracy, "trackers", name).get("identity", "unknown"))
        for name in part(records.accuracy, "trackers")
    }
    parts.append(
        "<h3>Trackers</h3>" + paragraph("Models by their SHA-256, peers by what they say of their version.")
    )
    parts.append(table("identity of the trackers", ("tracker", "identity"), list(identities.items()), ()))
    if differing := _differing(records, identities):
        parts.append(paragraph(f"Times were taken of another version of {', '.join(differing)}.", "caution"))
    commands = [record.get("command") for record in records]
    lines = [clean(line) for line in (*(c for c in commands if isinstance(c, str)), command)]
    parts.append(f'<h3>The same again</h3><pre tabindex="0">{chr(10).join(lines)}</pre>')
    return section("Machine, versions, commands", *parts, key="origin")


def _differing(records: Records, identities: Mapping[str, str]) -> Sequence[str]:
    """The trackers whose times are of another version than their scores."""
    speed = part(records.speed, "trackers")
    return [
        name
        for name, identity in identities.items()
        if name in speed and words(part(speed, name).get("identity", identity)) != identity
    ]

"""Pages of keys, the audit trail, and what is kept of runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taaxdog_datamig_cli.page import Block, Line, Page, Table
from taaxdog_datamig_cli.runpages import run_page
from taaxdog_datamig_cli.units import count, moment, size, some

if TYPE_CHECKING:
    from taaxdog_datamig.engine.reports import KeyRotation, KeyUse
    from taaxdog_datamig_cli.answers import AuditExport, AuditVerdict, Keys, Purged


def keys_page(answer: Keys) -> Page:
    """Keys by id, and what needs them."""
    if not answer.keys:
        return [Line("No key is configured, and nothing here is sealed under one.")]
    blocks: list[Block] = [
        Table(
            ("key", "state", "tokens", "runs", "columns"),
            [
                (
                    key.kid,
                    _state(key),
                    count(sum(key.tokens.values())),
                    count(key.runs),
                    ", ".join(f"{column} {count(number)}" for column, number in key.tokens.items()),
                )
                for key in answer.keys
            ],
            numbers=frozenset({"tokens", "runs"}),
        )
    ]
    missing = [key.kid for key in answer.keys if not key.configured and (key.tokens or key.runs)]
    if missing:
        blocks.append(Line(f"Not configured, but needed: {', '.join(missing)}", "bad"))
    return blocks


def _state(key: KeyUse) -> str:
    if key.right is False:
        return "another key of that id"
    if not key.configured:
        return "not configured"
    return "seals" if key.primary else "opens"


def rotation_page(answer: KeyRotation) -> Page:
    """What was sealed anew, and which keys may go."""
    blocks: list[Block] = [*run_page(answer.run)]
    if answer.run.dry_run:
        return blocks
    blocks.append(Line(f"Everything here is sealed under {answer.primary}.", "good"))
    if answer.rewrapped_runs:
        blocks.append(
            Line(f"It opens the before-images of {some(answer.rewrapped_runs, 'earlier run')}, too.")
        )
    if answer.retired:
        told = ", ".join(answer.retired)
        blocks.append(
            Line(f"This database needs no more: {told}. Backups and archives made before still need them.")
        )
    return blocks


def verdict_page(answer: AuditVerdict) -> Page:
    """Whether the audit trail is whole."""
    if answer.broken is None:
        return [Line(f"The audit trail is whole; entries: {count(answer.entries)}.", "good")]
    return [
        Line(f"Entry {count(answer.broken)} of the audit trail was changed, taken away or put in.", "bad"),
        Line("Somebody wrote to datamig.audit by hand: find out who, and keep the table as it is."),
    ]


def export_page(answer: AuditExport) -> Page:
    """Where the entries are."""
    return [Line(f"Wrote {count(answer.entries)} entries to {answer.file}.", "good")]


def purged_page(answer: Purged) -> Page:
    """Whose before-images go."""
    if not answer.runs:
        return [Line("No run that ended so long ago has before-images.", "good")]
    blocks: list[Block] = [
        Table(
            ("run", "migration", "ended", "images", "size"),
            [
                (run.run_id, run.migration, moment(run.completed_at), count(run.images), size(run.size))
                for run in answer.runs
            ],
            numbers=frozenset({"images", "size"}),
        )
    ]
    runs = some(len(answer.runs), "run")
    if answer.applied:
        told = f"The before-images of {runs} are gone; they cannot be rolled back any more."
        blocks.append(Line(told, "good"))
    else:
        blocks.append(Line(f"Nothing was deleted. --apply lets go of the before-images of {runs}.", "warn"))
    return blocks

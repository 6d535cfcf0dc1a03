"""`tunesmith doctor`: what is wrong with an installation, and what to do about it."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cli import process_checks, store_checks
from cli.findings import Finding, State
from cli.gc import DataDir
from cli.installation import Installation, installation
from jobs.database import Database
from jobs.settings import SettingsError


def doctor(
    data_dir: DataDir = None,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Check database, files, Redis, workers, devices and settings; exit with 1 if one failed."""
    findings = []
    for finding in _examined(data_dir):
        findings.append(finding)
        if not as_json:
            print(_line(finding), flush=True)
    is_healthy = all(finding.state != State.FAILED for finding in findings)
    if as_json:
        checks = [asdict(finding) for finding in findings]
        print(json.dumps({"healthy": is_healthy, "checks": checks}, ensure_ascii=False))
    if not is_healthy:
        raise typer.Exit(1)


def _examined(data_dir: Path | None) -> Iterator[Finding]:
    try:
        known = installation(data_dir)
    except SettingsError as problem:
        yield Finding(
            name="settings",
            state=State.FAILED,
            found=str(problem),
            remedy="correct the variable; nothing else was looked at",
        )
        return
    database = Database(known.settings.database_url)
    try:
        yield from _all(known, database)
    finally:
        database.close()


def _all(known: Installation, database: Database) -> Iterator[Finding]:
    yield from process_checks.stack_findings(known)
    of_database = store_checks.database_finding(known, database)
    usable = None if of_database.state == State.FAILED else database
    yield of_database
    yield from store_checks.settings_findings(known.settings, usable)
    yield store_checks.artifacts_finding(known.settings, usable)
    of_store = store_checks.object_store_finding(known.settings)
    if of_store is not None:
        yield of_store
    has_store = of_store is None or of_store.state != State.FAILED
    yield process_checks.redis_finding(known)
    yield process_checks.device_finding(known.settings)
    if usable is not None:
        yield from process_checks.worker_findings(known, usable)
    if usable is not None and has_store:
        yield store_checks.models_finding(known.settings, usable)
        yield from store_checks.leftovers_findings(known.settings, usable)


def _line(finding: Finding) -> str:
    remedy = f" -> {finding.remedy}" if finding.remedy else ""
    return f"{finding.state:<8} {finding.name:<15} {finding.found}{remedy}"

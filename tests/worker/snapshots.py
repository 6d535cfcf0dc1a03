"""An installation in which something has been done already, laid out anew for each test."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import insert, select

from jobs import tables
from jobs.database import Database
from jobs.settings import Settings, load_settings

Do = Callable[[Database, Settings], str]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All rows and files of an installation, and the id of what was made in it."""

    root: Path
    made: str
    rows: dict[str, list[Row]]

    def laid_out(self, database: Database, settings: Settings) -> str:
        """The id of what was made, which the empty installation has now, as if made in it."""
        photos, artifacts = settings.dataset_roots[0], settings.artifacts
        shutil.copytree(self.root / "photos", photos, dirs_exist_ok=True)
        shutil.copytree(self.root / "artifacts", artifacts, dirs_exist_ok=True)
        for record in artifacts.rglob("*.json"):
            text = record.read_text()
            record.write_text(text.replace(str(self.root / "photos"), str(photos)))
        with database.write() as connection:
            for table in tables.metadata.sorted_tables:
                rows = [_moved(row, self.root / "photos", photos) for row in self.rows[table.name]]
                if rows:
                    connection.execute(insert(table), rows)
        return self.made


def hurried(settings: Settings) -> Settings:
    """The settings with short leases, one thread and no periodic checkpoints."""
    return settings.model_copy(
        update={"lease_s": 5.0, "renew_s": 0.5, "threads": 1, "checkpoint_s": 3600.0}
    )


def snapshot(migrated_sqlite: Path, root: Path, do: Do) -> Snapshot:
    """What is there after this was done in an installation of its own below ``root``."""
    (root / "photos").mkdir()
    file = root / "tunesmith.db"
    shutil.copy(migrated_sqlite, file)
    settings = load_settings(
        database_url=f"sqlite:///{file}",
        redis_url=f"redis+socket://{root}/nobody.sock",
        artifacts=root / "artifacts",
        dataset_roots=(root / "photos",),
    )
    database = Database(settings.database_url)
    try:
        made = do(database, hurried(settings))
        with database.read() as connection:
            rows = {
                table.name: [dict(row) for row in connection.execute(select(table)).mappings()]
                for table in tables.metadata.sorted_tables
            }
    finally:
        database.close()
    return Snapshot(root, made, rows)


def _moved(row: Row, old: Path, new: Path) -> Row:
    """The row with the photos' new place wherever it named the old one."""
    return {name: _renamed(value, str(old), str(new)) for name, value in row.items()}


def _renamed(value: Any, old: str, new: str) -> Any:  # noqa: ANN401  # whatever a column holds
    if isinstance(value, str):
        return value.replace(old, new)
    if isinstance(value, dict | list):
        return json.loads(json.dumps(value).replace(old, new))
    return value

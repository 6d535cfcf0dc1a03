"""What one API process holds while it runs, opened and closed by the application's lifespan."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from api.housekeeping import Housekeeping
from api.ledger import Ledgers
from api.live_events import LiveEvents
from api.sse import Feed
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.queue import Doorbell
from jobs.settings import Settings
from jobs.webhook_sender import WebhookSender


@dataclass(frozen=True, slots=True)
class Services:
    """Everything a route may need."""

    settings: Settings
    database: Database
    artifacts: Artifacts
    doorbell: Doorbell
    feed: Feed
    live_events: LiveEvents
    ledgers: Ledgers


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Services]:
    """The services of a process; at the end all threads have ended, all connections are closed."""
    database = Database(settings.database_url)
    doorbell = Doorbell(settings.redis_url)
    with (
        tempfile.TemporaryDirectory(prefix="tunesmith-ledger-") as spill,
        Ledgers(Path(spill)) as ledgers,
    ):
        feed = Feed(database, settings.redis_url)
        housekeeping = Housekeeping(database, doorbell, settings)
        sender = WebhookSender(database, settings)
        housekeeping.start()
        sender.start()
        try:
            async with feed.listening():
                yield Services(
                    settings=settings,
                    database=database,
                    artifacts=Artifacts.of(settings),
                    doorbell=doorbell,
                    feed=feed,
                    live_events=LiveEvents(feed, database),
                    ledgers=ledgers,
                )
        finally:
            sender.stop()
            housekeeping.stop()
            doorbell.close()
            database.close()

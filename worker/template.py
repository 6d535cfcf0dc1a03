"""What a trainer needs beside its runner, loaded once in the process that trainers are forked from.

SQLAlchemy and Celery load parts of themselves on first use, and so is the table of architectures
read. Done here, that costs no job anything.
Importing this module opens no connection and starts no thread: neither survives a fork.
"""

import psycopg  # noqa: F401 - loaded by the engine of a PostgreSQL database
from sqlalchemy import make_url

from jobs.engines import engine_for
from jobs.queue import make_celery
from ml.theory import architectures

for _url in ("sqlite://", "postgresql+psycopg://"):
    engine_for(make_url(_url)).dispose()
with make_celery("redis://") as _celery:
    _celery.connection_for_write().close()
architectures.names()

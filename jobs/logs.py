"""How every process writes its log: one line per event, for people or for machines."""

import logging
import sys
from typing import Literal

import structlog

LogFormat = Literal["console", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]

# the libraries that fetch would show addresses with their tokens, and signatures
_CHATTY = ("alembic", "uvicorn.error", "aiobotocore", "botocore", "httpcore", "httpx", "s3fs")


def configure_logging(log_format: LogFormat, level: LogLevel) -> None:
    """All log lines of this process go to standard error in this format.

    Lines of the standard library's loggers (servers, drivers) get the same form, and what was
    bound with ``structlog.contextvars`` is on every line.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=_renderers(log_format)
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for chatty in _CHATTY:
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _renderers(log_format: LogFormat) -> list[structlog.typing.Processor]:
    plain = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    if log_format == "json":
        return [plain, structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    # a trace with the values of local variables would show what clients sent
    console = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )
    return [plain, console]

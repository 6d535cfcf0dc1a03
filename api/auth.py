"""Who asks, what they may do and whose things they see: decided here for every route below /v1."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from starlette.concurrency import run_in_threadpool

from api.dependencies import ServicesDep
from api.problems import Problem
from jobs.errors import NotFoundError
from jobs.ids import MODEL_PREFIX
from jobs.keys import ApiKey, Scope
from jobs.owners import TABLE_OF, owner_of
from jobs.store import LOCAL_OWNER

KEY_HEADER = "X-API-Key"
CHALLENGE = 'Bearer realm="tunesmith"'
_READING = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who sent a request; ``key_id`` is None where no keys are needed."""

    owner: str
    scopes: frozenset[Scope]
    key_id: str | None = None

    @classmethod
    def of(cls, key: ApiKey) -> "Caller":
        """Who holds the key."""
        return cls(owner=key.owner, scopes=key.scopes, key_id=key.id)

    def may(self, needed: Scope) -> bool:
        """Whether the scopes allow it: each allows to read, admin allows everything."""
        return needed == Scope.READ or not self.scopes.isdisjoint({needed, Scope.ADMIN})

    def sees(self, owner: str) -> bool:
        """Whether things of this owner exist for the caller."""
        return self.listed_owner in {None, owner}

    @property
    def listed_owner(self) -> str | None:
        """The owner whose things lists show; None shows those of all."""
        return None if self.may(Scope.ADMIN) else self.owner


ANYBODY = Caller(owner=LOCAL_OWNER, scopes=frozenset({Scope.ADMIN}))
"""Who asks where no keys are needed."""

# they read nothing that the gate has not read before; the documentation knows the schemes by them
_BEARER = HTTPBearer(
    scheme_name="bearer",
    bearerFormat="tsk_…",
    description="`Authorization: Bearer tsk_…`; needed unless the service binds loopback only",
    auto_error=False,
)
_HEADER = APIKeyHeader(
    name=KEY_HEADER,
    scheme_name="header",
    description="the same key, for clients that cannot set Authorization",
    auto_error=False,
)


async def get_caller(
    request: Request,
    _bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
    _header: Annotated[str | None, Security(_HEADER)],
) -> Caller:
    """Who the gate found to be asking."""
    caller: Caller = request.state.caller
    return caller


CallerDep = Annotated[Caller, Depends(get_caller)]


class Guard:
    """A dependency of routers: only who may goes on, and only to things of their own."""

    def __init__(self, *, writing: Scope, reading: Scope = Scope.READ) -> None:
        self._writing = writing
        self._reading = reading

    async def __call__(self, request: Request, services: ServicesDep, caller: CallerDep) -> None:
        """The request may go on.

        Raises:
            Problem: the caller lacks the scope that the method needs.
            NotFoundError: the path names a thing that the caller does not see.
        """
        needed = self._reading if request.method in _READING else self._writing
        if not caller.may(needed):
            raise forbidden(needed)
        if caller.listed_owner is not None:
            for kind, identifier in _named(request):
                owner = await run_in_threadpool(owner_of, services.database, kind, identifier)
                if not caller.sees(owner):
                    raise NotFoundError(kind, identifier)


def _named(request: Request) -> list[tuple[str, str]]:
    """Kind and id of the owned things in the path; an alias leads to the caller's own only."""
    named = [(kind, request.path_params.get(f"{kind}_id")) for kind in TABLE_OF]
    return [
        (kind, identifier)
        for kind, identifier in named
        if identifier is not None and (kind != "model" or identifier.startswith(MODEL_PREFIX))
    ]


def forbidden(needed: Scope) -> Problem:
    """The problem of a caller without the scope."""
    return Problem(
        "forbidden",
        f"this needs a key with the scope {needed.value}",
        headers={"WWW-Authenticate": f'{CHALLENGE}, error="insufficient_scope", scope="{needed}"'},
        members={"scope": needed.value},
    )

from collections.abc import Iterator

import pytest

from api.problems import CODE_OF, KINDS, Problem, at, from_domain, problem_responses, response_of
from jobs.errors import JobsError, NotFoundError, StoreUnavailableError
from ml.theory.errors import InvalidInputError, TheoryError


def family(kind: type[Exception]) -> Iterator[type[Exception]]:
    """All classes below this one."""
    for child in kind.__subclasses__():
        yield child
        yield from family(child)


def test_every_error_of_the_contract_has_a_code_of_its_own() -> None:
    assert [kind.__name__ for kind in family(JobsError) if kind not in CODE_OF] == []


def test_every_code_is_described_once() -> None:
    assert set(CODE_OF.values()) <= set(KINDS)
    assert all(kind.title and kind.remedy for kind in KINDS.values())


def test_a_missing_thing_is_not_found() -> None:
    problem = from_domain(NotFoundError("job", "job_1"))

    assert (problem.code, problem.detail) == ("not_found", "no job has the id 'job_1'")


def test_a_database_that_is_away_is_worth_a_retry() -> None:
    problem = from_domain(StoreUnavailableError("the database does not answer"))

    assert problem.code == "unavailable"
    assert problem.headers == {"Retry-After": "2"}


def test_a_wrong_argument_of_a_technique_points_at_its_field() -> None:
    problem = from_domain(InvalidInputError("targets", "target 2 is not a class"))

    assert [field.pointer for field in problem.errors] == ["/targets"]


def test_an_error_without_an_entry_counts_as_its_nearest_ancestor() -> None:
    class StrangeTheoryError(TheoryError):
        """Nobody has heard of it."""

    assert from_domain(StrangeTheoryError("odd")).code == "validation_failed"


def test_an_answer_has_every_member_of_a_problem() -> None:
    response = response_of(
        at("/size", "validation_failed", "size is 1", did_you_mean=["32"]),
        instance="/v1/x",
        request_id="req_1",
    )

    assert response.status_code == 422
    assert response.media_type == "application/problem+json"
    assert bytes(response.body) == (
        b'{"type":"/problems/validation_failed","title":"Validation failed","status":422,'
        b'"code":"validation_failed","detail":"size is 1","instance":"/v1/x",'
        b'"request_id":"req_1","errors":[{"pointer":"/size","code":"validation_failed",'
        b'"detail":"size is 1","did_you_mean":["32"]}]}'
    )


def test_a_code_that_is_not_in_the_table_cannot_be_sent() -> None:
    with pytest.raises(KeyError):
        response_of(Problem("nonsense", "x"), instance="/", request_id="req_1")


def test_documentation_groups_codes_by_status() -> None:
    documented = problem_responses("not_found", "validation_failed", "invalid_regex")

    assert list(documented) == [404, 422, 503]
    examples = documented[422]["content"]["application/problem+json"]["examples"]
    assert list(examples) == ["validation_failed", "invalid_regex"]

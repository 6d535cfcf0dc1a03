"""What the demo prints of an answer."""

import io

from rich.console import Console

from cli import show

ROW = {
    "path": "a[b]_1.jpg",
    "label": "[red]",
    "predicted": "blue",
    "rank": 1,
    "loss": 0.6931,
    "p_label": 0.5,
    "p_predicted": 0.5,
    "share_of_total_loss": 0.25,
    "breakdown": {
        "logit_label": 1.0,
        "logsumexp": 1.6931,
        "loss": 0.6931,
        "top": [
            {"label": "blue", "logit": 1.0, "p": 0.5},
            {"label": "[red]", "logit": 1, "p": 0.5},
        ],
    },
}


def test_a_sample_is_shown_from_its_activations_to_its_loss() -> None:
    text = _printed(show.sample_lines(ROW))

    assert "blue +1.00 -> 0.5000" in text
    assert "exp(1.000 - 1.693) = 0.50000" in text
    assert "loss = -ln p = 0.693, 25.0 % of the total" in text


def test_brackets_in_names_are_no_markup() -> None:
    text = _printed(show.sample_lines(ROW))

    assert "a[b]_1.jpg" in text
    assert "p([red])" in text


def test_a_rule_without_an_answer_shows_why() -> None:
    curve = {
        "suggestions": {"slide": None},
        "warnings": [{"code": "slide_unavailable", "detail": "too few points", "rule": "slide"}],
    }

    assert "too few points" in _printed(show.suggestions_table(curve))


def _printed(what: object) -> str:
    written = io.StringIO()
    Console(width=200, file=written).print(what, highlight=False)
    return written.getvalue()

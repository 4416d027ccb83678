"""Kept answers: found by a retry, forgotten in time, never more than a bounded number."""

from gateway.answers import ANSWERS_LIMIT, ANSWERS_S, Answers


def test_a_retry_finds_what_was_answered_to_the_first_try() -> None:
    answers = Answers()
    assert answers.find(("token", "/voice/webhook"), 0) is None
    answers.keep(("token", "/voice/webhook"), "<Response/>", 0)
    assert answers.find(("token", "/voice/webhook"), ANSWERS_S - 1) == "<Response/>"


def test_another_path_with_the_same_token_is_another_question() -> None:
    answers = Answers()
    answers.keep(("token", "/voice/webhook"), "<Response/>", 0)
    assert answers.find(("token", "/voice/webhook?after=stream"), 0) is None


def test_an_answer_is_forgotten_after_some_minutes() -> None:
    answers = Answers()
    answers.keep(("token",), "<Response/>", 10)
    assert answers.find(("token",), 10 + ANSWERS_S) is None


def test_the_oldest_answers_make_room() -> None:
    answers = Answers()
    for number in range(ANSWERS_LIMIT + 1):
        answers.keep((str(number),), "<Response/>", 0)
    assert answers.find(("0",), 0) is None
    assert answers.find(("1",), 0) == "<Response/>"


def test_an_answer_kept_again_is_young_again() -> None:
    answers = Answers()
    answers.keep(("first",), "old", 0)
    answers.keep(("second",), "<Response/>", 0)
    answers.keep(("first",), "new", 1)
    for number in range(ANSWERS_LIMIT - 1):
        answers.keep((str(number),), "<Response/>", 1)
    assert answers.find(("first",), 1) == "new"
    assert answers.find(("second",), 1) is None

"""Changes without secrets: what a line of the audit log shows of a request, whatever its names and links are."""

from typing import Any

import pytest

from tertulia.api.http.masking import masked

SECRET = "5ecret"


@pytest.mark.parametrize(
    "sent",
    [
        {"password": SECRET},
        {"passphrase": [SECRET]},
        {"db_pwd": SECRET},
        {"login": {"pass": SECRET}},
        {"accessKey": SECRET},
        {"signing-key": SECRET},
        {"headers": [["X-Any", SECRET]]},
        {"env": {"ANY": {"nested": SECRET}}},
        {"upserts": [{"name": "CITY", "value": {"deep": [SECRET]}}]},
        {"url": f"https://me:{SECRET}@example.com/a"},
        {"url": f"postgres://me:p@{SECRET}@example.com/a"},
        {"url": f"redis://:a/b{SECRET}@example.com"},
        {"url": f"1https://me:{SECRET}@example.com/a"},
        {"url": f"see x+{'y' * 50}://{SECRET}@example.com, or https://b.example/?a={SECRET}"},
        {"url": f"https://example.com/#{SECRET}"},
    ],
)
def test_no_secret_is_shown(sent: Any) -> None:
    assert SECRET not in str(masked(sent))


def test_a_number_under_the_name_of_a_secret_is_one_and_what_is_none_stays() -> None:
    assert masked({"pin": 4711, "token": 0.5, "private": True, "cookie": None}) == {
        "pin": "***",
        "token": "***",
        "private": True,
        "cookie": None,
    }
    shown = {"monkey": "a", "author": "b", "compass": "c", "url": "https://h.example:80/a@b", "city": ["d", 5]}
    assert masked(shown) == shown


@pytest.mark.parametrize("piece", ["a", "a.", "a:", "a@", "://", "a://", "://x@", "://x:", "://x:1/", "?#"])
def test_a_long_text_takes_no_more_work_for_each_character(piece: str) -> None:
    text = piece * (2_000_000 // len(piece))  # hours, if each were compared with each

    assert len(masked(text)) < 700

"""Secrets at rest."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import SecretStr

from tertulia.auth.secrets import SecretBox, WrongSecretKey, create_key_file
from tertulia.settings import Settings

KEY = "k" * 32


def test_a_secret_comes_back_and_is_not_stored_in_the_clear() -> None:
    box = SecretBox(KEY)

    assert box.decrypt(box.encrypt("swordfish")) == "swordfish"
    assert "swordfish" not in box.encrypt("swordfish")


def test_a_secret_of_another_key_is_refused() -> None:
    with pytest.raises(WrongSecretKey):
        SecretBox("x" * 32).decrypt(SecretBox(KEY).encrypt("swordfish"))


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 32"):
        SecretBox("password")


def test_the_key_file_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    assert create_key_file(tmp_path / "new").stat().st_mode & 0o777 == 0o600


def test_a_key_file_is_made_once_however_many_begin_together(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        texts = set(pool.map(lambda _: create_key_file(tmp_path).read_text(), range(32)))

    assert len(texts) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["secret.key"]


def test_the_setting_goes_before_the_file(tmp_path: Path) -> None:
    create_key_file(tmp_path)

    box = SecretBox.open(Settings(data=tmp_path, secret_key=SecretStr(KEY)))

    assert SecretBox(KEY).decrypt(box.encrypt("swordfish")) == "swordfish"

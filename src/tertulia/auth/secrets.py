"""Secrets at rest: encrypted with one key, which is never in the database."""

import base64
import os
import secrets
import tempfile
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tertulia.settings import Settings

KEY_FILE = "secret.key"
AUDIT_LOG = "audit log"
"""The purpose of the key by which lines of audit logs are chained."""
SHORTEST = 32
"""Characters of a secret key at least: it has to be random, not a password."""


class WrongSecretKey(ValueError):
    """A stored secret was encrypted with another secret key than this one, or has been changed."""

    def __init__(self) -> None:
        super().__init__(
            "The secret key is not the one that this database was made with: "
            "set TERTULIA_SECRET_KEY, or put the first secret.key into the data folder."
        )


class SecretBox:
    """Encrypts and decrypts text (Fernet: AES-128-CBC with HMAC-SHA-256, https://github.com/fernet/spec)."""

    def __init__(self, key: str) -> None:
        if len(key) < SHORTEST:
            raise ValueError(f"The secret key must have at least {SHORTEST} characters.")
        self._key = key.encode()
        derived = HKDF(SHA256(), length=32, salt=None, info=b"tertulia: secrets at rest").derive(key.encode())
        self._fernet = Fernet(base64.urlsafe_b64encode(derived))

    @classmethod
    def open(cls, settings: Settings) -> "SecretBox":
        """Open the box of an installation. Return it.

        Raises:
            FileNotFoundError: no key is set, and `create_key_file` has not been called.
        """
        key = settings.secret_key.get_secret_value()
        return cls(key or (settings.data / KEY_FILE).read_text(encoding="ascii").strip())

    def derive(self, purpose: str) -> bytes:
        """Derive a key for another purpose of the installation. Return 32 bytes that tell nothing of the secret key."""
        return HKDF(SHA256(), length=32, salt=None, info=f"tertulia: {purpose}".encode()).derive(self._key)

    def encrypt(self, text: str) -> str:
        """Encrypt a text. Return a text to store in its place."""
        return self._fernet.encrypt(text.encode()).decode("ascii")

    def decrypt(self, encrypted: str) -> str:
        """Decrypt a stored text. Return the original.

        Raises:
            WrongSecretKey: the text was encrypted with another key, or has been changed.
        """
        try:
            return self._fernet.decrypt(encrypted.encode("ascii")).decode()
        except InvalidToken as error:
            raise WrongSecretKey from error


def create_key_file(folder: Path) -> Path:
    """Make the secret key of a data folder, readable by its owner alone, unless there is one. Return its path."""
    path = folder / KEY_FILE
    folder.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{KEY_FILE}.")  # mkstemp sets mode 0600
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)  # whole or not at all, and only if there is none yet
    except FileExistsError:
        pass
    finally:
        os.unlink(temporary)
    return path

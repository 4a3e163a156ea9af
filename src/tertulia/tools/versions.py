"""Versions of tools, three numbers each, and constraints on them as PEP 440 writes them (`>=1.0,<2`)."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from packaging.specifiers import InvalidSpecifier, SpecifierSet

BumpType = Literal["major", "minor", "patch"]

LONGEST_CONSTRAINT = 256
"""Characters of a constraint."""

_VERSION = re.compile(r"(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})", re.ASCII)


class BadConstraint(ValueError):
    """A text that is no constraint."""


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """A version of a tool."""

    major: int
    minor: int
    patch: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"

    def bumped(self, bump: BumpType) -> "Version":
        """Return the version that follows, with zeros behind the number that is counted up."""
        match bump:
            case "major":
                return Version(self.major + 1, 0, 0)
            case "minor":
                return Version(self.major, self.minor + 1, 0)
            case "patch":
                return Version(self.major, self.minor, self.patch + 1)


FIRST = Version(1, 0, 0)


def find_version(text: str) -> Version | None:
    """Read a version. Return it, or None if the text is none."""
    found = _VERSION.fullmatch(text)
    return None if found is None else Version(int(found[1]), int(found[2]), int(found[3]))


class Constraint:
    """A constraint on versions; an empty text admits each of them."""

    def __init__(self, text: str) -> None:
        """Read a constraint.

        Raises:
            BadConstraint: the text is none.
        """
        if len(text) > LONGEST_CONSTRAINT:
            raise BadConstraint(f"A constraint on versions has at most {LONGEST_CONSTRAINT} characters.")
        try:
            self._specifiers = SpecifierSet(text)
        except InvalidSpecifier as error:
            raise BadConstraint("Write a constraint on versions as PEP 440 does, as in >=1.0,<2 or ==1.2.3.") from error

    def admits(self, version: Version) -> bool:
        """Return whether a version meets the constraint."""
        return self._specifiers.contains(str(version))

    def greatest(self, versions: Iterable[Version]) -> Version | None:
        """Choose the greatest version that meets the constraint. Return it, or None if none does."""
        return max(filter(self.admits, versions), default=None)


def checked_constraint(text: str) -> str:
    """Check a constraint. Return its text, or raise BadConstraint."""
    Constraint(text)
    return text

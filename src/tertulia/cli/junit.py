"""The report of `tertulia test` in the form of JUnit, which the pages of continuous integration show."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold."""


@dataclass(frozen=True, slots=True)
class Case:
    """A conversation that was held. `failure` is empty if it passed."""

    name: str
    seconds: float
    failure: str
    text: str


def write_junit(path: Path, suite: str, cases: Sequence[Case]) -> None:
    """Write the report of a folder's conversations."""
    root = ElementTree.Element("testsuites")
    totals = {
        "name": suite,
        "tests": str(len(cases)),
        "failures": str(sum(bool(case.failure) for case in cases)),
        "errors": "0",
        "time": f"{sum(case.seconds for case in cases):.3f}",
    }
    element = ElementTree.SubElement(root, "testsuite", totals)
    for case in cases:
        found = ElementTree.SubElement(
            element, "testcase", {"classname": suite, "name": case.name, "time": f"{case.seconds:.3f}"}
        )
        if case.failure:
            first = case.failure.splitlines()[0]
            ElementTree.SubElement(found, "failure", {"message": _clean(first)}).text = _clean(case.failure)
        ElementTree.SubElement(found, "system-out").text = _clean(case.text)
    path.parent.mkdir(parents=True, exist_ok=True)
    ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def _clean(text: str) -> str:
    return _NO_XML.sub("", text)

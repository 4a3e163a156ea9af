"""A guard for wheels: hatchling asks it before it builds one."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Guard(BuildHookInterface[Any]):
    """The refusal of a wheel without the web interface; an editable install may come before it is built."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Look for the built interface.

        Raises:
            FileNotFoundError: a wheel would lack it.
        """
        page = Path(self.root, "src/tertulia/web/built/index.html")
        if version != "editable" and not page.is_file():
            raise FileNotFoundError("The web interface is not built: run `make ui` first.")

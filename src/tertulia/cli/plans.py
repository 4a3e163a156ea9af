"""Plans on a terminal: what would change, as a diff that can be read without colours too."""

from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.text import Text

from tertulia.cli.show import indent, printable
from tertulia.files.plan import Plan, Step

MOST_LINES: Final = 60
"""Lines of a diff that are shown; of what is new, fewer."""
_MOST_NEW: Final = 12
_STYLES: Final = {"+": "green", "-": "red", "@": "dim"}
_SIGNS: Final = {"create": ("+", "green"), "change": ("~", "yellow"), "detach": ("-", "red")}


def show_plan(console: Console, plan: Plan) -> None:
    """Print each step with its diff, then the remarks."""
    for step in plan.steps:
        sign, style = _SIGNS[step.verb]
        console.print(Text.assemble((f"{sign} ", style), (f"{describe(step)}", "bold")), soft_wrap=True)
        for line in _shown(step):
            hanging = 5 + len(line[1:]) - len(line[1:].lstrip())
            indent(console, Text(f"    {printable(line)}", _STYLES.get(line[:1], "")), 0, hanging)
        console.print()
    for note in plan.notes:
        console.print(Text(f"! {printable(note)}", "yellow"))
    if plan.notes:
        console.print()


def describe(step: Step) -> str:
    """Name what a step changes. Return a few words."""
    name = printable(step.name)
    match step.kind, step.verb:
        case "release", _:
            return f"version set release of {name}"
        case "tool", verb:
            version = f", version {step.tool.version}" if step.tool and step.tool.version else ""
            return f"{'new ' if verb == 'create' else ''}tool {name}{version}"
        case "behavior", "detach":
            return f"behavior {name}: no longer applied, for it has no file (it stays on the server)"
        case kind, "create":
            return f"new {kind} {name}"
        case kind, _ if step.version:
            return f"{kind} {name}, version {step.version}"
        case kind, _:
            return f"{kind} {name}"


def _shown(step: Step) -> Sequence[str]:
    """Choose the lines that are shown of a step. Return them; what is left out is told in the last one."""
    match step.verb:
        case "detach":
            return []
        case "create":
            lines, most = [f"+{line}" for line in step.after.splitlines()], _MOST_NEW
        case "change":
            lines, most = step.diff(), MOST_LINES
    left_out = len(lines) - most
    return [*lines[:most], f"... and {left_out} more lines of {step.file}"] if left_out > 1 else lines

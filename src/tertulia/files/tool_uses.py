"""Uses of tools in graphs and behaviours: by name in files, `tool: NAME`, by `tool_id` in the API.

A content is the body of a graph's version, or the `actions` of a behaviour. Pure: values in, values out.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, cast

from tertulia.problems import Place

Content = dict[str, Any]
Change = Callable[[Any], Any]

SPEC_LISTS: Final = frozenset({"action_tool_call_specs", "exit_condition_tool_call_specs", "tool_call_specs"})
"""The fields of states and actions that hold uses of tools."""
DESIGNATED: Final = "designated_tool"
NOBODY: Final = "0" * 24
"""The id that a use has until its tool is on a server."""


def change_uses(content: Mapping[str, Any], change: Change) -> Content:
    """Change each use of a tool. Return the content; what is not of its form stays as it is."""
    changed = dict(content)
    for field in ("states", "actions"):
        holders = content.get(field)
        if isinstance(holders, list):
            changed[field] = [_changed(holder, change) for holder in cast("list[Any]", holders)]
    return changed


def _changed(holder: Any, change: Change) -> Any:
    if not isinstance(holder, dict):
        return holder
    changed = dict(cast("Content", holder))
    for field in sorted(SPEC_LISTS & changed.keys()):
        if isinstance(changed[field], list):
            changed[field] = [change(use) for use in changed[field]]
    if DESIGNATED in changed:
        changed[DESIGNATED] = change(changed[DESIGNATED])
    return changed


def uses(content: Mapping[str, Any]) -> Iterator[tuple[Place, Any]]:
    """List the uses of tools, in the order in which `change_uses` changes them. Yield each with its place."""
    for field in ("states", "actions"):
        holders = content.get(field)
        for number, holder in enumerate(cast("list[Any]", holders) if isinstance(holders, list) else []):
            for place, use in _held(holder):
                yield (field, number, *place), use


def _held(holder: Any) -> Iterator[tuple[Place, Any]]:
    if not isinstance(holder, dict):
        return
    held = cast("Content", holder)
    for field in sorted(SPEC_LISTS & held.keys()):
        if isinstance(held[field], list):
            yield from (((field, number), use) for number, use in enumerate(held[field]))
    if DESIGNATED in held:
        yield (DESIGNATED,), held[DESIGNATED]


def with_placeholders(content: Mapping[str, Any]) -> Content:
    """Put an id that no tool has in the place of each name. Return the content, in the form of the API."""
    return change_uses(content, lambda use: _exchanged(use, "tool", "tool_id", {}, NOBODY))


def with_names_of(content: Mapping[str, Any], named: Mapping[str, Any]) -> Content:
    """Give each use the name that it has in `named`, the same content before it was checked. Return the content."""
    before = iter([use for _place, use in uses(named)])

    def restored(use: Any) -> Any:
        name = next(before).get("tool")
        return use if name is None else {"tool": name, **{key: use[key] for key in use if key != "tool_id"}}

    return change_uses(content, restored)


def with_names(content: Mapping[str, Any], names: Mapping[str, str]) -> Content:
    """Call each tool by its name. Return the content; a tool without one keeps its id."""
    return change_uses(content, lambda use: _exchanged(use, "tool_id", "tool", names, None))


def with_ids(content: Mapping[str, Any], ids: Mapping[str, str]) -> Content:
    """Call each tool by its id. Return the content, in the form of the API."""
    return change_uses(content, lambda use: _exchanged(use, "tool", "tool_id", ids, NOBODY))


def _exchanged(use: Any, before: str, after: str, found: Mapping[str, str], otherwise: str | None) -> object:
    given = cast("Content", use if isinstance(use, dict) else {})
    if before not in given:
        return cast("object", use)
    value = found.get(given[before], otherwise) if isinstance(given[before], str) else otherwise
    if value is None:
        return given
    return {after: value, **{key: given[key] for key in given if key != before}}


def problems(content: Mapping[str, Any]) -> Iterator[tuple[Place, str]]:
    """Look at how tools are named. Yield the place of each mistake, with a sentence."""
    for place, use in uses(content):
        if not isinstance(use, dict):
            continue
        given = cast("Content", use)
        if "tool" not in given and "tool_id" not in given:
            yield place, "Name the tool: `tool: NAME`."
        elif "tool" in given and "tool_id" in given:
            yield (*place, "tool_id"), "Give either `tool` or `tool_id`."
        elif "tool" in given and not (isinstance(given["tool"], str) and given["tool"]):
            yield (*place, "tool"), "This must be the name of a tool."

"""A new folder: an agent that talks, in as few lines as show how it is done."""

import re
from collections.abc import Mapping
from typing import Final

from tertulia.files.writing import to_yaml

_AGENT: Final = """\
# Who speaks. Facts belong into `background`, rules into the two lists.
identity:
  name: Robin
  role: the host of a small museum of clocks
background: |
  The museum has 120 clocks and is open from Tuesday to Sunday, 10 to 17. Entry is 6 euros, free for children.
  A guided tour begins every day at 14 and takes an hour.
behaviors:
  - Say so when you do not know something.
communication_patterns:
  - Speak warmly, in one to three short sentences.
"""
_GRAPH: Final = """\
# What is to be done. A conversation begins in the first state and ends in the last.
description: Welcomes visitors and answers their questions.
states:
  - name: welcome
    objective: Have visitors know all that they need for their visit.
    actions:
      - Ask what the visitor would like to know, or answer it.
    exit_conditions:
      - description: The visitor wants to book a guided tour.
        next_state: tour
      - description: The visitor says goodbye.
        next_state: farewell
  - name: tour
    objective: Book a tour for the visitor.
    actions:
      - Ask for the day and the number of people.
    exit_conditions:
      - description: The visitor has named a day and how many people come.
        next_state: farewell
  - name: farewell
    objective: Part as friends.
    actions:
      - Say goodbye and wish a good visit.
"""
_SERVICE: Final = """\
# What users talk to: this agent with this graph.
{name}"""
_BEHAVIOR: Final = """\
# What to do when a conversation comes to a matter, in whichever state it is.
conversation_triggers:
  - The visitor has lost something.
actions:
  - instruction: Say that lost things are kept at the front desk for a month.
"""
_CONVERSATION: Final = """\
# A conversation that the agent must hold: `tertulia test` holds it.
turns:
  - user: Can I book a guided tour?
    state: tour
  - user: On Sunday we come with four people.
    state: farewell
    finished: true
"""
_LOST: Final = """\
turns:
  - user: I have lost my umbrella.
    behavior: lost-and-found
"""

SCHEMA_OF: Final = {
    "agent": "agent",
    "graph": "graph",
    "graphs": "graph",
    "service": "service",
    "behaviors": "behavior",
    "conversations": "conversation",
}
"""The schema of each file or folder of files."""


def heading(file: str) -> str:
    """Tell editors the schema of a file of a folder. Return the line."""
    first, *inner = file.removesuffix(".yaml").split("/")
    return f"# yaml-language-server: $schema={'../' * len(inner)}.schemas/{SCHEMA_OF[first]}.json\n"


def title_of(folder: str) -> str:
    """Make the name of a service of that of its folder: `pizza-order` is `Pizza order`. Return it."""
    words = re.sub(r"[\W_]+", " ", folder).strip()
    return f"{words[:1].upper()}{words[1:]}"


def new_folder(name: str) -> Mapping[str, str]:
    """Write the files of a new folder for a service of this name. Return them by their paths."""
    files = {
        "agent.yaml": _AGENT,
        "graph.yaml": _GRAPH,
        "service.yaml": _SERVICE.format(name=to_yaml({"name": name})),
        "behaviors/lost-and-found.yaml": _BEHAVIOR,
        "conversations/a-tour.yaml": _CONVERSATION,
        "conversations/an-umbrella.yaml": _LOST,
    }
    return {file: f"{heading(file)}{text}" for file, text in files.items()}

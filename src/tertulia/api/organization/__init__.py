"""An organization and what belongs to it: agents and context graphs."""

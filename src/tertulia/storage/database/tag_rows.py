"""A row for each tag of a conversation, which triggers keep, whatever statement writes the conversation.

A conversation without tags costs one comparison.
"""

from sqlalchemy.engine import Connection

_ROWS = (
    "INSERT INTO conversation_tags (conversation_id, key, org_id, value, created_at)"
    " SELECT {row}.id, tag.key, {row}.org_id, tag.value, {row}.created_at FROM {source}"
)
_REMOVE = "DELETE FROM conversation_tags WHERE conversation_id = NEW.id"


def _rows(each: str) -> str:
    return _ROWS.format(row="NEW", source=f"{each}(NEW.tags) AS tag")


def _all_rows(each: str, kind: str) -> str:
    """Write the statement for conversations that are there. Return it; tags of an old one may be JSON's null."""
    tags = f"CASE WHEN {kind}(conversations.tags) = 'object' THEN conversations.tags END"
    return _ROWS.format(row="conversations", source=f"conversations, {each}({tags}) AS tag")


_SQLITE = (
    "CREATE TRIGGER conversation_tags_insert AFTER INSERT ON conversations WHEN NEW.tags <> '{}'"
    f" BEGIN {_rows('json_each')}; END",
    "CREATE TRIGGER conversation_tags_update AFTER UPDATE OF tags ON conversations WHEN NEW.tags <> OLD.tags"
    f" BEGIN {_REMOVE}; {_rows('json_each')}; END",
    _all_rows("json_each", "json_type"),
)

_POSTGRES = (
    "CREATE FUNCTION keep_conversation_tags() RETURNS trigger LANGUAGE plpgsql AS $$"
    f" BEGIN IF TG_OP = 'UPDATE' THEN {_REMOVE}; END IF; {_rows('jsonb_each_text')}; RETURN NULL; END $$",
    "CREATE TRIGGER conversation_tags_insert AFTER INSERT ON conversations FOR EACH ROW"
    " WHEN (NEW.tags <> '{}'::jsonb) EXECUTE FUNCTION keep_conversation_tags()",
    "CREATE TRIGGER conversation_tags_update AFTER UPDATE OF tags ON conversations FOR EACH ROW"
    " WHEN (NEW.tags <> OLD.tags) EXECUTE FUNCTION keep_conversation_tags()",
    _all_rows("jsonb_each_text", "jsonb_typeof"),
)


def keep(connection: Connection) -> None:
    """Make the triggers, and the rows of the conversations that there are."""
    for statement in _SQLITE if connection.dialect.name == "sqlite" else _POSTGRES:
        connection.exec_driver_sql(statement)

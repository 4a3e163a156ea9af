"""The parameters of a conversation's paths."""

from typing import Annotated

from fastapi import Path

from tertulia.api.http.types import ObjectId

ConversationPath = Annotated[ObjectId, Path()]
InteractionPath = Annotated[ObjectId, Path()]
MessagePath = Annotated[ObjectId, Path()]

"""The settings of a command: read once, checked, and handed on to the processes that it starts."""

import os
import re
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import SettingsError

from tertulia.cli.failure import MISUSED, CommandFailed, warn
from tertulia.settings import Group, Settings, is_of_a_service, unknown_names_of_file

PREFIX = "TERTULIA_"


def load_settings(data: Path | None) -> Settings:
    """The settings of this process, its data folder made absolute, for it and for the processes that it starts.

    Raises:
        CommandFailed: a setting is wrong; names it.
    """
    if data is not None:
        override("DATA", str(data.expanduser().absolute()))
    settings = _read_settings()
    for name in unknown_names_of_file():
        warn(f"there is no setting {name} in the settings file; it is ignored.")
    override("DATA", str(settings.data.expanduser().absolute()))
    if settings.redis.url.get_secret_value() and find_spec("redis") is None:
        raise CommandFailed("TERTULIA_REDIS_URL: the extra `redis` is not installed", MISUSED)
    return settings.model_copy(update={"data": Path(os.environ["TERTULIA_DATA"])})


def load_server_settings(data: Path | None, host: str | None, port: int | None, workers: int | None) -> Settings:
    """Load the settings of a server; options that are given go before them. Raises CommandFailed as `load_settings`."""
    for name, value in (("HOST", host), ("PORT", port), ("WORKERS", workers)):
        if value is not None:
            override(name, str(value))
    return load_settings(data)


def _read_settings() -> Settings:
    config = os.environ.get("TERTULIA_CONFIG")
    if config and not Path(config).is_file():
        raise CommandFailed(f"TERTULIA_CONFIG: there is no file {config}", MISUSED)
    try:
        return Settings()
    except ValidationError as error:
        raise CommandFailed(_describe(error), MISUSED) from error
    except SettingsError as error:
        field = re.search('field "(.*?)"', str(error))
        raise CommandFailed(f"{variable((field[1],)) if field else 'A setting'}: cannot be read", MISUSED) from error
    except (tomllib.TOMLDecodeError, OSError) as error:
        raise CommandFailed(f"The settings file cannot be read: {error}", MISUSED) from error


def warn_of_unknown_variables() -> None:
    """Say which variables look like settings and are none: most are misspelt. What they hold is not shown."""
    for name, value in sorted(os.environ.items()):
        if not name.upper().startswith(PREFIX) or is_of_a_service(name, value):
            continue
        if not _is_setting(name.upper().removeprefix(PREFIX)):
            warn(f"there is no setting {name}; it is ignored.")


def _is_setting(name: str) -> bool:
    return name == "CONFIG" or name.lower() in Settings.model_fields or name.startswith(_GROUPS)


def _is_group(field: FieldInfo) -> bool:
    kind = field.annotation
    return get_origin(kind) is dict or (isinstance(kind, type) and issubclass(kind, Group))


_GROUPS = tuple(f"{name.upper()}_" for name, field in Settings.model_fields.items() if _is_group(field))


def override(name: str, value: str) -> None:
    """Set a setting by its variable's name; `load_settings` after this sees it, and so does every process started."""
    os.environ[PREFIX + name] = value


def _describe(error: ValidationError) -> str:
    """Each wrong setting and why, without its value, which may be a secret."""
    problems = error.errors(include_url=False, include_input=False)
    return "; ".join(f"{variable(problem['loc'])}: {_reason(problem)}" for problem in problems)


def variable(location: tuple[int | str, ...]) -> str:
    """The environment variable of a setting."""
    return "_".join(["TERTULIA", *(str(part).upper() for part in location if isinstance(part, str))])


def _reason(problem: ErrorDetails) -> str:
    if problem["type"] == "extra_forbidden":
        return "there is no such setting"
    return problem["msg"].removeprefix("Value error, ").rstrip(".")

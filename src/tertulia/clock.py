"""The time, in one place: aware UTC datetimes with microseconds."""

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def now() -> datetime:
    """The current time, aware, in UTC."""
    return datetime.now(UTC)


def to_microseconds(moment: datetime) -> int:
    """Whole microseconds since the epoch; exact, where a float timestamp rounds."""
    return (moment - EPOCH) // MICROSECOND


def in_microseconds(span: timedelta) -> int:
    """Whole microseconds of a span of time."""
    return span // MICROSECOND


def from_microseconds(microseconds: int) -> datetime:
    """The aware UTC datetime of `microseconds` since the epoch."""
    return EPOCH + timedelta(microseconds=microseconds)

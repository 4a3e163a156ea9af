"""The fixtures of commands: `support.installed` says what each is."""

from support.installed import command, data, installation, made, program, server, shared, sigint_is_heard, start

__all__ = ["command", "data", "installation", "made", "program", "server", "shared", "sigint_is_heard", "start"]

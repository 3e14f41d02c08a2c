"""Tokens as they are written down: read, and fit for a header. No sentence repeats one."""

from pathlib import Path

from pathtap.cli.errors import CommandError


def token_file(path: Path, whose: str) -> str:
    """The token in a file, without the white space around it; `whose` begins the sentence of a CommandError."""
    try:
        token = path.read_text(encoding="ascii")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not ASCII"
        raise CommandError(f"{whose} {path} cannot be read: {reason}.") from error
    return checked(token, f"{whose} {path}")


def checked(token: str, whose: str) -> str:
    """What can stand in a header, without the white space around it. Raises CommandError."""
    token = token.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise CommandError(f"{whose} holds no token.")
    return token

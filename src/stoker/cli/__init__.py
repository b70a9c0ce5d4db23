"""The commands, one a file."""


def main() -> None:
    """Entry point of ``stoker``."""

"""``python -m stoker``."""

from stoker.cli import main

main()

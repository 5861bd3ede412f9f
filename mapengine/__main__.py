"""`python -m mapengine`."""

from mapengine.cli import main

main()

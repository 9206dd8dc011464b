"""`python -m framework`."""

from framework.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    main()

"""The command ``ckptkit``, also as ``python -m ckptkit``: from its first import on, Ctrl-C ends it without a word."""

import sys


def main() -> int:
    """Run the command line of this process and return its exit code."""
    try:
        from ckptkit import cli
    except KeyboardInterrupt:
        return 130
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())

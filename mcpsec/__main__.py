"""``python -m mcpsec`` is the same command as ``mcpsec``."""

from mcpsec.cli.entry import run

if __name__ == "__main__":
    run()

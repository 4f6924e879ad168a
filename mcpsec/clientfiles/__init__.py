"""Configuration files as people write them: where in the text each key stands.

Import the reader of a format from its module: ``from mcpsec.clientfiles.toml import locate``.
"""

__all__: list[str] = []

"""Security toolkit for Model Context Protocol servers.

The rooms of the house, from the top floor down (a room imports only from floors below its own):
``cli`` → ``audit`` → ``gateway`` → ``telemetry``, ``connect`` → ``deployment`` → ``certs``, ``leaks`` →
``signing``, ``protocol``, ``secretrefs``, ``clientfiles``, ``report`` → ``errors``.
"""

__version__ = "0.1.0"

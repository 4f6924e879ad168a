"""The hardened server that stands in front of MCP servers.

``listener`` accepts connections, ``connection`` turns bytes into requests within deadlines and caps, ``chain`` is the
way of a request through the ``steps``, ``upstreams`` are what stands behind, ``server`` puts them together.
The gateway knows nothing of the terminal.
"""

"""OAuth 2.1 for the resource server that a gateway is: access tokens, who they stand for, and who may hold them.

The parts: ``access`` turns a token into what its issuer says about it, by signature (RFC 9068) or introspection
(RFC 7662); ``binding`` and ``dpop`` tell whether the caller is its rightful holder (RFC 8705, RFC 9449); ``clients``
finds the one client it stands for; ``challenges`` says to callers without one how to get it (RFC 6750, RFC 9728).
``fetch`` and ``keyset`` are the only ones that use the network, and never longer than a deadline.
"""

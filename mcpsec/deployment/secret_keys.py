"""The keys of the deployment file that are about secrets managers: ``[secrets]``."""

from __future__ import annotations

from mcpsec.deployment import model
from mcpsec.deployment.kinds import Duration, FilePath, Secret, Text
from mcpsec.deployment.oauth_keys import ServerUrl
from mcpsec.deployment.shapes import Key, Table
from mcpsec.secretrefs import AppRole, AwsSettings, KubernetesLogin, VaultSettings

__all__ = ["SECRETS"]

_NAME = Text("name", r"[A-Za-z0-9_./-]{1,128}")

_VAULT = Table(
    VaultSettings,
    (
        Key("address", ServerUrl(), "The server's URL; without it that of BAO_ADDR or VAULT_ADDR."),
        Key("namespace", _NAME, "The namespace; without it that of BAO_NAMESPACE or VAULT_NAMESPACE."),
        Key("ca", FilePath("file"), "CA certificates, PEM, that its certificate must come from."),
        Key("token", Secret(), "The token, by reference; without any login here that of BAO_TOKEN or VAULT_TOKEN."),
        Key(
            "approle",
            Table(
                AppRole,
                (
                    Key("role_id", Text("role id", r"[!-~]{1,128}"), "The role's identifier.", '"6b1f…"'),
                    Key("secret_id", Secret(), "Its secret, by reference.", '{ file = "secrets/secret-id" }'),
                    Key("mount", _NAME, "Where the login is mounted."),
                ),
                "Log in as an AppRole.",
            ),
            "Log in as an AppRole.",
        ),
        Key(
            "kubernetes",
            Table(
                KubernetesLogin,
                (
                    Key("role", _NAME, "The role to log in as.", '"mcpsec"'),
                    Key("mount", _NAME, "Where the login is mounted."),
                    Key(
                        "token_file",
                        FilePath(),
                        "The service account's token, when it is not where Kubernetes puts it.",
                    ),
                ),
                "Log in with the pod's service account.",
            ),
            "Log in with the pod's service account.",
        ),
        Key("timeout", Duration(0.1, 60), "The longest that one answer may take."),
    ),
    "OpenBao or HashiCorp Vault, for references of the form { vault = … }. With several logins the first of approle, "
    "kubernetes and token is used.",
)

SECRETS = Table(
    model.Secrets,
    (
        Key(
            "refresh", Duration(0, 86400), "How often every reference is read again while the gateway runs; 0s: never."
        ),
        Key("overlap", Duration(0, 86400), "How long the old value of a signing key is still accepted after a change."),
        Key("vault", _VAULT, "OpenBao or Vault."),
        Key(
            "aws",
            Table(
                AwsSettings,
                (
                    Key("region", _NAME, "The region; without it the one that the AWS SDK finds."),
                    Key("endpoint", ServerUrl(), "Another endpoint than the region's own."),
                ),
                "AWS Secrets Manager, for references of the form { aws = … }.",
            ),
            "AWS Secrets Manager.",
        ),
    ),
    "Secrets managers, and how secrets change while the gateway runs.",
)

"""Secrets in AWS Secrets Manager. Credentials come from where the AWS SDK finds them (environment, profile, role)."""

from __future__ import annotations

import importlib.util
import json
from typing import TYPE_CHECKING, Any, ClassVar, Self

from mcpsec.errors import SecretError
from mcpsec.frozen import dataclass
from mcpsec.secretrefs.managers import aws_settings, missing_part, split_reference

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["AwsSource"]


@dataclass(frozen=True, slots=True)
class AwsSource:
    """The current version of a secret, or one field of it when it is a JSON object."""

    kind: ClassVar[str] = "aws"
    doc: ClassVar[str] = (
        "AWS Secrets Manager: the secret's name or ARN and, after #, the field of a JSON secret, as `mcp/agent#hmac` "
        "(extra `aws`)"
    )
    schema: ClassVar[dict[str, Any]] = {"type": "string", "pattern": "^[^#]+(#[^#]+)?$"}

    name: str
    field: str | None

    @classmethod
    def parse(cls, value: object, base: Path) -> Self:
        """Accept ``name`` or ``name#field``."""
        del base
        return cls(*split_reference("aws", value, '"mcp/agent#hmac"'))

    def describe(self) -> str:
        """Name the secret's place."""
        return f"AWS secret {self.written()}"

    def written(self) -> object:
        """Return the place."""
        return self.name if self.field is None else f"{self.name}#{self.field}"

    def check(self) -> None:
        """Raise SecretError when the AWS SDK is not there."""
        if importlib.util.find_spec("boto3") is None:
            raise missing_part("AWS Secrets Manager", "aws")

    def read(self) -> bytes:
        """Fetch the version that is labelled AWSCURRENT."""
        self.check()
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError

        settings = aws_settings()
        limits = Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 2})
        try:
            client = boto3.session.Session().client(
                "secretsmanager", region_name=settings.region, endpoint_url=settings.endpoint, config=limits
            )
            answer = client.get_secret_value(SecretId=self.name)
        except ClientError as error:
            reason = str(error.response.get("Error", {}).get("Code", "refused"))
            raise SecretError(f"{self.describe()}: {reason}") from None
        except (BotoCoreError, ValueError) as error:
            raise SecretError(f"{self.describe()} can't be fetched ({type(error).__name__})") from None
        whole = answer.get("SecretBinary") or str(answer.get("SecretString", "")).encode()
        return whole if self.field is None else self._field(whole, self.field)

    def _field(self, whole: bytes, name: str) -> bytes:
        value: object = None
        try:
            document = json.loads(whole)
            value = document.get(name) if isinstance(document, dict) else None
        except ValueError:
            pass  # said below, outside this handler, so that no chained exception holds a piece of the secret
        if not isinstance(value, str):
            raise SecretError(f"{self.describe()}: the secret is no JSON object with that field as text")
        return value.encode()

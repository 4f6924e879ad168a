"""Weak values in places that leave no doubt: a service's own server, a program's password, a signing secret."""

import pytest

from mcpsec.leaks import scan_bytes
from mcpsec.leaks.hosting import is_hosted

HOSTED = [
    "cluster0.k3v9x2p.mongodb.net",
    "workshop.ajqpk.mongodb.net",
    "ep-plain-forest-a1b2c9d4.eu-central-1.aws.neon.tech",
    "db.qkzvtwmhbxrncpjgsdfl.supabase.co",
    "shop.c9akcb4wqz7x.eu-west-1.rds.amazonaws.com",
    "ec2-54-227-243-98.compute-1.amazonaws.com",
    "dpg-c1s7m2h3tq9k8v4x6z0g-a",
    "redis-14217.c250.eu-central-1-1.ec2.redns.redis-cloud.com",
    "usw1-merry-31842.upstash.io",
    "ds047812.mlab.com",
]
EXAMPLES = [
    "cluster0.abcde.mongodb.net",
    "cluster0.xxxxx.mongodb.net",
    "cluster.mongodb.net",
    "cluster0.example.mongodb.net",
    "db.example.com",
    "ds012345.mlab.com.example.com",
    "localhost",
]


@pytest.mark.parametrize("host", HOSTED)
def test_a_users_name_as_its_password_counts_on_somebodys_server(host):
    assert is_hosted(host)
    text = f'url = "mongodb+srv://harbour77:harbour77@{host}/shop"'
    assert [f.confidence for f in scan_bytes(text.encode())] == ["medium"]
    for shown in ("<user>:<password>", "user:password", "myuser:mypassword"):
        assert not scan_bytes(text.replace("harbour77:harbour77", shown).encode())


@pytest.mark.parametrize("host", EXAMPLES)
def test_and_not_on_an_examples(host):
    assert not is_hosted(host)
    assert not scan_bytes(f'url = "mongodb+srv://harbour77:harbour77@{host}/shop"'.encode())


MADE_UP = ["123.45.67.89", "111.222.33.44", "12.34.56.178", "123.56.78.90", "45.67.89.123"]


@pytest.mark.parametrize("host", ["35.227.175.4", "88.99.141.207", *MADE_UP])
def test_an_address_that_people_make_up_is_nobodys_server(host):
    assert is_hosted(host) == (host not in MADE_UP)
    for user in ("admin", "harbour77"):
        assert bool(scan_bytes(f"amqp://{user}:{user}@{host}:5672".encode())) == (host not in MADE_UP)


def test_whom_rabbitmq_comes_with_is_nobody():
    assert not scan_bytes(b"amqp://guest:guest@35.227.175.4:5672")


@pytest.mark.parametrize(
    "text",
    [
        "sshpass -p 'Seven" + "RoofsLeanEast' ssh deploy@10.2.0.4",
        "JWT_SEC" + "RET=OurShopBackendSigningPhrase2025!",
        "jwt.sec" + "ret=Harbour@2025SigningLineForTheShopAndItsApi",
    ],
)
def test_words_that_somebody_joined_are_found_where_only_a_secret_stands(text):
    assert [f.confidence for f in scan_bytes(text.encode())] == ["medium"]


@pytest.mark.parametrize(
    "text",
    [
        "sshpass -p 'YourPasswordHere' ssh deploy@10.2.0.4",
        "JWT_SECRET=dev-only-signing-line-1234-abcd",
        "JWT_SECRET=your-256-bit-secret-key-for-jwt-signing-2025",
        "OTHER_APP_SECRET=AbCdEfGhIjKlMnOpQrStUvWxYz123456",
        "JWT_SECRET_ARN=arn:aws:secretsmanager:us-east-1:123456789012:secret:jwt-AbC123",
        "Server=sql1;Database=Club;User Id=sa;Password=UnaContrase\u00f1aSegura123!;",
        "Server=sql1;Database=Club;User Id=sa;Password=MinhaSenhaForte123!;",
    ],
)
def test_samples_in_those_places_are_none(text):
    assert not scan_bytes(text.encode())

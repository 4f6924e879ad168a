"""A new deployment: what is in it, that nothing is overwritten, and that a killed run leaves nothing that counts."""

import base64
import os
import ssl
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography import x509

from mcpsec.deployment import load
from mcpsec.deployment.scaffold import create
from mcpsec.errors import ConfigurationError, UsageError
from tests.deployment.kills import kill_at_every_step


def tree(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if not path.is_dir()}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory):
    return create(tmp_path_factory.mktemp("scaffold") / "new", ["agent", "ci"])


def test_every_file_is_said(made) -> None:
    silent = {path for path in tree(made.directory) if path.endswith(("/lock", "-journal"))}
    assert {str(path.relative_to(made.directory)) for path in made.files} == tree(made.directory) - silent
    assert made.files[0] == made.config == made.directory / "mcpsec.toml"
    assert made.clients == ("agent", "ci")
    assert sorted(path.name for path in made.directory.iterdir()) == [
        ".gitignore", "log", "mcpsec.toml", "pki", "secrets",
    ]  # fmt: skip
    assert [path.name for path in made.directory.parent.iterdir()] == ["new"]


def test_nobody_else_can_read_what_is_private(made) -> None:
    for path in (made.directory, *made.directory.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        if path.is_dir():
            assert mode == 0o700, path
        elif path.name.endswith("key.pem") or {"private", "secrets"} & set(path.parts):
            assert mode == 0o600, path


def test_private_files_stay_private_under_any_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        test_nobody_else_can_read_what_is_private(create(tmp_path / "new"))
    finally:
        os.umask(before)


def test_each_client_has_its_own_secret(made) -> None:
    secrets = [made.directory / f"secrets/{name}.hmac" for name in ("agent", "ci")]
    texts = [path.read_text() for path in secrets]
    assert len({*texts}) == 2
    for text in texts:
        assert len(base64.urlsafe_b64decode(text.strip() + "=")) == 32
    keys = [client.signing_keys[0] for client in load(made.config).clients]
    assert [key.secret.resolve().decode() + "\n" for key in keys if key.secret] == texts


def names(path: Path) -> list[str]:
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return [str(name.value) for name in extension.value]


def test_the_certificates_are_those_of_the_file(made) -> None:
    deployment = load(made.config)
    assert set(names(deployment.server.tls.certificate)) == {"localhost", "127.0.0.1", "::1"}
    for client in deployment.clients:
        assert client.certificate is not None
        assert names(made.directory / f"pki/client/{client.id}/cert.pem") == [client.certificate.san]


def test_a_real_handshake(made) -> None:
    """The certificates serve their purpose: both sides verify each other, and a client without one is turned away."""
    tls = load(made.config).server.tls
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tls.certificate, tls.key)
    server.load_verify_locations(tls.client_ca)
    server.verify_mode = ssl.CERT_REQUIRED
    pki = made.directory / "pki"
    for certificate in (None, pki / "client/agent/chain.pem"):
        client = ssl.create_default_context(cafile=str(pki / "server-ca.pem"))
        if certificate:
            client.load_cert_chain(certificate, certificate.with_name("key.pem"))
            assert handshake(server, client) == ((("commonName", "agent"),),)
        else:
            with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
                handshake(server, client)


def handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> object:
    """Run both ends of TLS in memory and return the subject that the server saw."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname="localhost"),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    open_ends = list(ends)
    while open_ends:
        for end in list(open_ends):
            try:
                end.do_handshake()
                open_ends.remove(end)
            except ssl.SSLWantReadError:
                pass
    certificate = ends[1].getpeercert()
    assert certificate is not None
    return certificate["subject"]


def test_git_leaves_out_what_is_private(tmp_path: Path) -> None:
    made = create(tmp_path / "new")
    (made.directory / "log" / "events.jsonl").touch()
    git = ["git", "-C", str(made.directory)]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "-A"], check=True)
    added = subprocess.run([*git, "ls-files"], check=True, capture_output=True, text=True).stdout.split()
    assert "pki/server/gateway/cert.pem" in added
    assert not [path for path in added if "key" in path or path.startswith(("secrets", "log", "pki/private"))]


# ---- nothing is overwritten


def test_a_repositorys_own_gitignore_stays_and_nothing_secret_can_be_added(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("mine\n")
    made = create(tmp_path)
    git = ["git", "-C", str(tmp_path)]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "-A"], check=True)
    added = subprocess.run([*git, "ls-files"], check=True, capture_output=True, text=True).stdout.split()
    assert added == [".gitignore", "mcpsec.toml"]
    assert (tmp_path / ".gitignore").read_text() == "mine\n"
    assert made.config.is_file()


@pytest.mark.parametrize("name", ["mcpsec.toml", "pki", "secrets"])
def test_what_is_there_stays(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    (tmp_path / "other.txt").write_text("mine too")
    with pytest.raises(ConfigurationError, match="already exists, and nothing is overwritten") as caught:
        create(tmp_path)
    assert caught.value.path == str(tmp_path / name)
    assert sorted(os.listdir(tmp_path)) == sorted([name, "other.txt"])
    assert (tmp_path / name).read_text() == "mine"


def test_a_dangling_link_is_in_the_way_too(tmp_path: Path) -> None:
    (tmp_path / "mcpsec.toml").symlink_to("nowhere")
    with pytest.raises(ConfigurationError, match="already exists"):
        create(tmp_path)
    assert os.listdir(tmp_path) == ["mcpsec.toml"]


def test_a_directory_with_other_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "README").write_text("mine")
    (tmp_path / "log").mkdir(mode=0o755)
    monkeypatch.chdir(tmp_path)
    made = create(Path())
    assert made.directory == tmp_path
    assert sorted(os.listdir(tmp_path)) == [".gitignore", "README", "log", "mcpsec.toml", "pki", "secrets"]
    assert load(made.config).path == made.config
    with pytest.raises(ConfigurationError, match=r"mcpsec\.toml: already exists"):
        create(Path())


def test_missing_parents_are_made(tmp_path: Path) -> None:
    assert create(tmp_path / "a" / "b" / "c").config == tmp_path / "a" / "b" / "c" / "mcpsec.toml"


def test_places_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ConfigurationError):
            create(place)
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("clients", [[], [""], ["a/b"], ["../x"], [".hidden"], ["a b"], ["x" * 64], ["a", "A"], ['a"']])
def test_names_of_clients(tmp_path: Path, clients: list[str]) -> None:
    with pytest.raises(UsageError):
        create(tmp_path / "new", clients)
    assert os.listdir(tmp_path) == []


def test_what_an_interrupted_run_left_beside_the_directory_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".mcpsec-init-stale" / "content" / "new").mkdir(parents=True)
    create(tmp_path / "new")
    (tmp_path / ".mcpsec-init-stale" / "content" / "new").mkdir(parents=True)
    with pytest.raises(ConfigurationError, match="already exists"):
        create(tmp_path / "new")
    assert os.listdir(tmp_path) == ["new"]


# ---- killed at any moment (test_staging has every single step of it)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork: run it on Linux or macOS")
@pytest.mark.parametrize("where", ["inside", "new"])
def test_killed_at_any_moment_it_leaves_nothing_or_everything(tmp_path: Path, where: str) -> None:
    whole = ["mcpsec.toml", "pki", "secrets", "log", ".gitignore"]
    setup = """
        from mcpsec.certs import Pki  # loaded before the first fork
        from mcpsec.deployment.scaffold import create as make
    """
    kill_at_every_step(tmp_path, setup, whole, inside=where == "inside", step=31)

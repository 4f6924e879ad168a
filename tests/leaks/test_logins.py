"""Words that are somebody's password where they stand, and the words of tests and tutorials in the same places.

Each text is looked at alone and with every engine; every value is made up.
"""

import pytest

from .test_twins import found

WORD, LETTERS, GROUPS = "thunderhorse", "jaeqoiex", "qkzv mwxj bqtr zpvk"

LOCAL = "admin1234 root2024 postgres1234 pass2024 secret2024 hello1234 docker1234 redis123456 user0000".split()  # noqa: SIM905


@pytest.mark.parametrize("password", ["KELE0514", "Lena1987", *LOCAL])
def test_a_word_with_a_year_counts_on_this_machine(password):
    assert bool(found("a.py", f"postgres://app:{password}@localhost/x")) == (password not in LOCAL)


TUTORIALS = """
    changeme placeholder something anything whatever undefined replaceme qwertyui asdfghjkl abcdefgh shhhhhhh foobarbaz
    loremipsum keyboardcat keyboard sessionid sessionkey cookiename mycookie helloworld development production insecure
    fallback passportjs expressjs randomstring
    """.split()  # noqa: SIM905


@pytest.mark.parametrize("secret", [WORD, *TUTORIALS])
def test_a_word_signs_sessions_but_for_those_of_tutorials(secret):
    assert bool(found("a.js", f"app.use(session({{ secret: '{secret}' }}))")) == (secret == WORD)


@pytest.mark.parametrize("call", ["session", "expressSession", "createSession", "mockSession"])
def test_only_a_call_of_express_makes_a_word_its_secret(call):
    assert bool(found("a.js", f"{call}({{ secret: '{WORD}' }})")) == (call in ("session", "expressSession"))


CALLS = ("IDENTIFIED BY '{}'", "auth=('ops', '{}')", "connect('h', 'ops', '{}')", "basic_auth('ops', '{}')")
PRODUCTS = """
    keycloak debezium phpmyadmin influxdb freepbx bugzilla quarkus mysqluser mypasswd dbpasswd mysqlpwd adminpwd
    """.split()  # noqa: SIM905


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("letters", [LETTERS, *PRODUCTS])
def test_letters_of_no_language_but_for_names_of_products(call, letters):
    assert bool(found("a.php", call.format(letters))) == (letters == LETTERS)


@pytest.mark.parametrize(
    ("signal", "login"),
    [
        ('connect(obj(), "notify", "txtChngd")', 'connect(dsn(), "ops", "kqzvmwxj")'),
        ('connect(ui(), "clicked", "slotBtnClk")', 'connect(dsn(), "ops", "kQZvmWXj")'),
        ("connect('h', 'jaeqoiex', 'jaeqoiex')", "connect('h', 'jaeqoiez', 'jaeqoiex')"),
    ],
)
def test_what_a_signal_is_connected_to_and_the_user_again_are_no_passwords(signal, login):
    assert not found("a.py", signal)
    assert found("a.py", login)


NOBODY = """
    user username sender receiver johndoe john.doe jane.doe someone myemail admin info test-user abc noreply alice bob
    """.split()  # noqa: SIM905


@pytest.mark.parametrize("who", ["mira.k", "administer77", "bobby.k", *NOBODY])
def test_whose_mailbox_a_word_opens(who):
    assert bool(found("a.py", f'server.login("{who}@gmail.com", "{WORD}")')) == (who not in NOBODY)


@pytest.mark.parametrize("service", ["mail.ru", "gmail.com", "mail.com"])
def test_where_a_mailbox_is(service):
    assert bool(found("a.py", f'server.login("mira.k@{service}", "{WORD}")')) == (service != "mail.com")


@pytest.mark.parametrize("word", [WORD, "nonexistent", "unregistered", "incorrect", "unknownuser", "mirapass"])
def test_what_a_test_tries_at_a_mailbox_is_no_password(word):
    assert bool(found("a.py", f'server.login("mira.k@gmail.com", "{word}")')) == (word == WORD)


def test_what_was_drawn_for_an_application_counts_behind_a_role_too():
    assert found("a.py", f'server.login("sender@gmail.com", "{GROUPS}")')

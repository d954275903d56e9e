import pytest

from llm_core.errors import ModelError
from llm_core.server.settings import ServerSettings, is_loopback, load_server_settings

TOKEN = "0123456789abcdef"


@pytest.fixture(autouse=True)
def _no_settings_of_the_person(monkeypatch):
    for name in ServerSettings.model_fields:
        monkeypatch.delenv(f"DEERSTALKER_SERVER_{name.upper()}", raising=False)


def test_by_default_only_this_machine_is_served():
    found = load_server_settings()
    assert is_loopback(found.host) and not found.tokens and found.rate is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "example.org", ""])
def test_an_address_that_others_reach_needs_a_token(host):
    with pytest.raises(ModelError, match="give a token"):
        load_server_settings(host=host)
    assert load_server_settings(host=host, tokens=(TOKEN,)).host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost"])
def test_loopback_addresses_need_none(host):
    assert load_server_settings(host=host).host == host


def test_the_environment_counts_where_the_command_line_says_nothing(monkeypatch):
    monkeypatch.setenv("DEERSTALKER_SERVER_PORT", "8001")
    monkeypatch.setenv("DEERSTALKER_SERVER_SLOTS", "2")
    monkeypatch.setenv("DEERSTALKER_SERVER_TOKENS", f"{TOKEN}, {TOKEN}2")
    found = load_server_settings(port=8002, slots=None)
    assert (found.port, found.slots) == (8002, 2)
    assert [token.get_secret_value() for token in found.tokens] == [TOKEN, f"{TOKEN}2"]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("PORT", "99999", "DEERSTALKER_SERVER_PORT='99999' is not usable"),
        ("RATE", "0", "DEERSTALKER_SERVER_RATE='0' is not usable"),
        ("TIMEOUT", "inf", "DEERSTALKER_SERVER_TIMEOUT='inf' is not usable"),
        ("DRAIN_S", "nan", "DEERSTALKER_SERVER_DRAIN_S='nan' is not usable"),
        ("MAX_BODY", "much", "DEERSTALKER_SERVER_MAX_BODY='much' is not usable"),
    ],
)
def test_a_bad_value_is_named(monkeypatch, name, value, message):
    monkeypatch.setenv(f"DEERSTALKER_SERVER_{name}", value)
    with pytest.raises(ModelError, match=message):
        load_server_settings()


def test_a_bad_option_is_named_as_it_was_given():
    with pytest.raises(ModelError, match="--max-body 7 is not usable"):
        load_server_settings(max_body=7)


@pytest.mark.parametrize("token", ["short-secret", "0123456789ábcdef"])
def test_a_weak_token_is_refused_without_showing_it(monkeypatch, token):
    monkeypatch.setenv("DEERSTALKER_SERVER_TOKENS", f"{TOKEN},{token}")
    with pytest.raises(ModelError, match="token 2 of the server") as caught:
        load_server_settings()
    assert token not in str(caught.value)


def test_tokens_come_from_a_file(tmp_path):
    file = tmp_path / "tokens"
    file.write_text(f"# of the team\n{TOKEN}1\n\n  {TOKEN}2  \n")
    found = load_server_settings(file, host="0.0.0.0")
    assert [token.get_secret_value() for token in found.tokens] == [f"{TOKEN}1", f"{TOKEN}2"]
    assert TOKEN not in repr(found)


def test_a_file_without_tokens_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"cannot read the tokens in .*none"):
        load_server_settings(tmp_path / "none")
    (tmp_path / "empty").write_text("# nothing\n")
    with pytest.raises(ModelError, match="empty holds no token"):
        load_server_settings(tmp_path / "empty")

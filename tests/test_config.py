"""The configuration as a user meets it: what wins over what, and what each mistake is told as."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from ollama_proxy import config
from ollama_proxy.config import Config, ConfigError, load, read
from ollama_proxy.settings import SETTINGS, Address, Setting, Upstream

EXAMPLE = Path(__file__).parents[1] / "config.example.toml"


def file(text: str | bytes) -> Callable[[str], bytes]:
    """A `read_file` that has one file."""
    return lambda path: text if isinstance(text, bytes) else text.encode()


def from_file(text: str | bytes) -> Config:
    return load({"config": "proxy.toml"}, {}, file(text))


def refused(
    flags: dict[str, str] | None = None,
    environ: dict[str, str] | None = None,
    text: str | bytes | None = None,
) -> str:
    """The message of the error, which must be one line."""
    flags = dict(flags or {})
    if text is not None:
        flags["config"] = "proxy.toml"
    with pytest.raises(ConfigError) as caught:
        load(flags, environ or {}, file(text or ""))
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert "Traceback" not in message
    return message


class TestDefaults:
    def test_nothing_given_is_the_documented_setup(self) -> None:
        found = load({}, {})
        assert str(found.listen) == "127.0.0.1:11435"
        assert str(found.upstream) == "http://127.0.0.1:11434"
        assert str(found.admin_listen) == "127.0.0.1:8080"
        assert found.admin_path == "/admin"
        assert found.data_dir.name == "ollama_proxy"
        assert (found.timeouts.connect, found.timeouts.upload) == (10, 300)
        assert (found.timeouts.drain, found.timeouts.pool_idle) == (30, 30)
        assert (found.timeouts.first_byte, found.timeouts.idle, found.timeouts.total) == (0, 0, 0)
        assert (found.privacy.mode, found.privacy.characters) == ("truncate", 200)
        assert found.privacy.redact == ()
        assert (found.retention.days, found.retention.megabytes) == (30, 1024)
        assert found.retention.recent == 1000
        assert found.models_interval == 10
        assert not found.admin_listen_given
        assert set(found.sources.values()) == {"default"}

    def test_every_setting_of_the_structure_is_in_the_table(self) -> None:
        fields = set(Config.__struct_fields__) - {
            *("sources", "admin", "timeouts", "privacy", "clients", "insights", "retention", "log"),
            "alerts",
        }
        for section, kind in (
            ("admin", config.Admin),
            ("timeouts", config.Timeouts),
            ("privacy", config.PrivacyRules),
            ("clients", config.ClientRules),
            ("insights", config.Insights),
            ("retention", config.Retention),
            ("alerts", config.Alerts),
            ("log", config.Logs),
        ):
            fields |= {f"{section}.{name}" for name in kind.__struct_fields__}
        assert fields == {setting.name for setting in SETTINGS}

    def test_example_file_is_the_table(self) -> None:
        assert EXAMPLE.read_text() == example_text()

    def test_example_file_changes_nothing_and_uncommented_is_the_defaults(self) -> None:
        text = EXAMPLE.read_text()
        assert from_file(text) == load({}, {})
        for setting in SETTINGS:
            text = text.replace(commented(setting.example), "")
        full = from_file(re.sub(r"(?m)^#(\w+ = )", r"\1", text))
        assert msgspec.structs.replace(full, sources={}) == msgspec.structs.replace(
            load({}, {}), sources={}
        )
        assert set(full.sources.values()) == {"file proxy.toml"}
        assert set(full.sources) == {setting.name for setting in SETTINGS}


def example_text() -> str:
    """What config.example.toml must be, made from the table."""
    lines = [
        "# ollama_proxy: every setting with its default. Remove the # before a line to change it.",
        "# The environment (OLLAMA_PROXY_LISTEN, OLLAMA_PROXY_TIMEOUTS_CONNECT, …) and flags win.",
    ]
    sections: dict[str, list[Setting]] = {}
    for setting in SETTINGS:
        sections.setdefault(setting.name.rpartition(".")[0], []).append(setting)
    for section, settings in sections.items():
        lines += ["", f"[{section}]"] if section else []
        for one in settings:
            key = one.name.rpartition(".")[2]
            lines += ["", f"# {one.help}", f"#{key} = {json.dumps(one.default)}"]
        # Tables end what belongs to the section itself.
        lines += ["\n" + commented(one.example).rstrip() for one in settings if one.example]
    return "\n".join(lines) + "\n"


def commented(example: str) -> str:
    """As it stands in the file, where all is switched off."""
    return re.sub(r"(?m)^(?=[^#\n])", "#", example)


class TestWhatWins:
    def test_flag_over_environment_over_file_over_default(self) -> None:
        text = 'listen = "127.0.0.1:1"\nadmin_path = "/file"\n[timeouts]\nconnect = 1\nidle = 2.5\n'
        environ = {
            "OLLAMA_PROXY_LISTEN": "127.0.0.1:2",
            "OLLAMA_PROXY_TIMEOUTS_CONNECT": "3",
            "OLLAMA_PROXY_CONFIG": "proxy.toml",
        }
        found = load({"listen": "127.0.0.1:4"}, environ, file(text))
        assert found.listen.port == 4
        assert found.timeouts.connect == 3
        assert found.timeouts.idle == 2.5
        assert found.admin_path == "/file"
        assert found.sources["listen"] == "flag --listen"
        assert found.sources["timeouts.connect"] == "environment OLLAMA_PROXY_TIMEOUTS_CONNECT"
        assert found.sources["timeouts.idle"] == "file proxy.toml"
        assert found.sources["timeouts.total"] == "default"

    def test_file_named_by_flag_wins_over_the_one_of_the_environment(self) -> None:
        asked: list[str] = []

        def read(path: str) -> bytes:
            asked.append(path)
            return b""

        load({"config": "a.toml"}, {"OLLAMA_PROXY_CONFIG": "b.toml"}, read)
        load({}, {"OLLAMA_PROXY_CONFIG": "b.toml"}, read)
        load({}, {"OLLAMA_PROXY_CONFIG": ""}, read)
        assert asked == ["a.toml", "b.toml"]

    def test_what_a_takeover_left_in_the_data_folder_stands_in_place_of_defaults(
        self, tmp_path: Path
    ) -> None:
        left = tmp_path / "takeover.toml"
        left.write_text('listen = "127.0.0.1:11434"\nupstream = "http://127.0.0.1:11436"\n')
        found = load({"data_dir": str(tmp_path)}, {"OLLAMA_PROXY_LISTEN": "127.0.0.1:2"})
        assert (found.listen.port, found.upstream.port) == (2, 11436)
        assert found.sources["upstream"] == f"file {left}"
        assert load({"data_dir": str(tmp_path / "other")}, {}).upstream.port == 11434
        left.write_text("listen = 1\n")
        with pytest.raises(ConfigError, match=r"takeover\.toml"):
            load({"data_dir": str(tmp_path)}, {})
        left.write_text('privacy.mode = "none"\n')
        with pytest.raises(ConfigError, match=r"privacy\.mode .* listen and upstream only"):
            load({"data_dir": str(tmp_path)}, {})

    def test_what_a_takeover_left_and_cannot_be_read_is_not_left_out(self, tmp_path: Path) -> None:
        """Without it Ollama would be looked for where the proxy was to listen."""
        (tmp_path / "takeover.toml").mkdir()
        with pytest.raises(ConfigError, match=r"takeover\.toml: Is a directory"):
            load({"data_dir": str(tmp_path)}, {})
        read({"data_dir": str(tmp_path)}, {}, only=("data_dir",))  # which needs nothing of it
        file = tmp_path / "file"
        file.touch()
        assert load({"data_dir": str(file)}, {}).upstream.port == 11434

    def test_empty_environment_variable_is_not_a_value(self) -> None:
        assert load({}, {"OLLAMA_PROXY_LISTEN": ""}).sources["listen"] == "default"

    def test_foreign_variables_are_left_alone(self) -> None:
        """Kubernetes sets OLLAMA_PROXY_PORT for a service called ollama-proxy."""
        assert load({}, {"OLLAMA_PROXY_PORT": "tcp://10.0.0.1:80"}) == load({}, {})

    def test_admin_address_knows_that_it_was_asked_for(self) -> None:
        assert load({"admin_listen": "127.0.0.1:8080"}, {}).admin_listen_given
        assert load({"admin_listen": "off"}, {}).admin_listen is None

    def test_lists_and_numbers_from_the_environment(self) -> None:
        environ = {
            "OLLAMA_PROXY_PRIVACY_REDACT": '["sk-[a-z]+", "[0-9]{16}"]',
            "OLLAMA_PROXY_RETENTION_DAYS": "7",
            "OLLAMA_PROXY_MODELS_INTERVAL": "0.5",
        }
        found = load({}, environ)
        assert found.privacy.redact == ("sk-[a-z]+", "[0-9]{16}")
        assert found.retention.days == 7
        assert found.models_interval == 0.5

    def test_file_written_by_a_windows_editor(self) -> None:
        assert from_file(b'\xef\xbb\xbflisten = "127.0.0.1:9"\r\n').listen.port == 9


class TestAddresses:
    @pytest.mark.parametrize(
        ("text", "host", "port"),
        [
            ("127.0.0.1:0", "127.0.0.1", 0),
            ("[::1]:11435", "::1", 11435),
            ("localhost:1", "localhost", 1),
            ("0.0.0.0:65535", "0.0.0.0", 65535),
        ],
    )
    def test_listen(self, text: str, host: str, port: int) -> None:
        found = load({"listen": text}, {}).listen
        assert found == Address(host, port)
        assert str(found) == text

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "11435",
            ":11435",
            "127.0.0.1",
            "127.0.0.1:",
            "127.0.0.1:65536",
            "127.0.0.1:-1",
            "127.0.0.1:\u0661",
            "::1:11435",
            "[::g]:1",
            "[1.2.3.4]:1",
            "http://127.0.0.1:1",
            "a b:1",
            "host\n:1",
        ],
    )
    def test_not_an_address(self, text: str) -> None:
        message = refused({"listen": text})
        assert message.startswith(
            f"listen = {json.dumps(text)} (flag --listen): expected host:port"
        )

    @pytest.mark.parametrize("host", ["a..b", "a..", "x" * 64, f"a.{'x' * 64}.", "ab." * 84 + "ab"])
    def test_host_that_no_resolver_takes(self, host: str) -> None:
        assert "expected host:port" in refused({"listen": f"{host}:1"})
        assert "expected http or https" in refused({"upstream": f"http://{host}:1"})

    @pytest.mark.parametrize("host", ["a.", "x" * 63, "ab." * 83 + "abcd"])
    def test_longest_host(self, host: str) -> None:
        host.encode("idna")
        assert load({"upstream": f"http://{host}:1"}, {}).upstream.host == host

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("http://127.0.0.1:11434", Upstream("http", "127.0.0.1", 11434)),
            ("127.0.0.1:1234", Upstream("http", "127.0.0.1", 1234)),
            ("gpu-box", Upstream("http", "gpu-box", 11434)),
            (":1234", Upstream("http", "127.0.0.1", 1234)),
            ("0.0.0.0:1234", Upstream("http", "127.0.0.1", 1234)),
            ("[::]:1234", Upstream("http", "::1", 1234)),
            ("http://gpu-box", Upstream("http", "gpu-box", 80)),
            ("https://gpu.example.org/", Upstream("https", "gpu.example.org", 443)),
            ("https://h:8443/app/bot1/", Upstream("https", "h", 8443, "/app/bot1")),
            ("[fd00::1]:1234/x", Upstream("http", "fd00::1", 1234, "/x")),
        ],
    )
    def test_upstream_as_people_write_it(self, text: str, expected: Upstream) -> None:
        assert load({"upstream": text}, {}).upstream == expected

    def test_upstream_reads_back_from_its_text(self) -> None:
        for text in ("https://h:8443/app", "http://[fd00::1]:80"):
            assert str(load({"upstream": text}, {}).upstream) == text

    @pytest.mark.parametrize(
        "text", ["", "ftp://h", "http://", "h:0", "h:99999", "h?x=1", "h/#a", "unix:///x", "h h"]
    )
    def test_not_an_upstream(self, text: str) -> None:
        assert "(flag --upstream): expected http or https" in refused({"upstream": text})

    def test_password_in_a_url_is_refused_without_showing_it(self) -> None:
        message = refused({"upstream": "http://me:hunter2@gpu:1"})
        assert "hunter2" not in message


class TestRefusals:
    @pytest.mark.parametrize(
        ("listen", "upstream"),
        [
            ("127.0.0.1:11434", "http://127.0.0.1:11434"),
            ("0.0.0.0:11434", "http://localhost:11434"),
            ("[::1]:11434", "127.0.0.1:11434"),
            ("[::]:11434", "0.0.0.0:11434"),
            ("localhost:11434", "http://[::ffff:127.0.0.1]:11434/x"),
            ("GPU.example:443", "https://gpu.example"),
        ],
    )
    def test_upstream_that_is_the_proxy(self, listen: str, upstream: str) -> None:
        message = refused({"listen": listen, "upstream": upstream})
        assert "would forward to itself" in message
        assert "flag --listen" in message
        assert "flag --upstream" in message

    def test_upstream_that_is_the_admin(self) -> None:
        message = refused(environ={"OLLAMA_PROXY_UPSTREAM": "localhost:8080"})
        assert "would forward to itself" in message
        assert "admin_listen = 127.0.0.1:8080 (default)" in message

    def test_same_port_on_another_machine_is_fine(self) -> None:
        load({"listen": "0.0.0.0:11434", "upstream": "192.168.1.5:11434"}, {})

    def test_ports_the_system_chooses_are_never_the_same(self) -> None:
        load({"listen": "127.0.0.1:0", "admin_listen": "127.0.0.1:0"}, {})

    @pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "192.168.1.5", "gpu-box"])
    def test_admin_for_the_network(self, host: str) -> None:
        message = refused({"admin_listen": f"{host}:8080"})
        assert "set admin.token (environment OLLAMA_PROXY_ADMIN_TOKEN" in message
        assert "SSH tunnel" in message
        environ = {"OLLAMA_PROXY_ADMIN_TOKEN": "0123456789abcdef"}
        assert load({"admin_listen": f"{host}:8080"}, environ).admin_listen is not None

    @pytest.mark.parametrize(
        "token", ["short", "fifteen-letters", "with a space in it", "not ascii: è è è è", "\0" * 16]
    )
    def test_a_token_that_is_none_is_not_repeated(self, token: str) -> None:
        message = refused(environ={"OLLAMA_PROXY_ADMIN_TOKEN": token})
        assert "admin.token = … (environment OLLAMA_PROXY_ADMIN_TOKEN): expected 16" in message
        assert token not in message
        for text in (f"[admin]\ntoken = {json.dumps(token)}", f"admin = {json.dumps(token)}"):
            message = refused(text=text)
            assert "…" in message
            assert token not in message

    def test_a_token_does_not_show(self) -> None:
        token = "0123456789abcdef"
        found = load({}, {"OLLAMA_PROXY_ADMIN_TOKEN": token})
        assert found.admin.token == token
        assert token not in f"{found} {found!r} {found.admin}"

    @pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost", "127.1.2.3"])
    def test_admin_on_loopback(self, host: str) -> None:
        assert load({"admin_listen": f"{host}:8081"}, {}).admin_listen is not None

    def test_admin_on_the_clients_port(self) -> None:
        message = refused({"listen": "localhost:8080"})
        assert "admin_listen = 127.0.0.1:8080 (default) is the same as listen" in message

    @pytest.mark.parametrize(
        "path",
        ["/", "", "admin", "/api", "/api/x", "/v1", "/v1/x", "/a//b", "/../x", "/a b", "/%41"],
    )
    def test_admin_path_that_hides_ollama(self, path: str) -> None:
        assert "expected a path such as /admin" in refused({"admin_path": path})

    def test_admin_path_with_a_slash_at_its_end(self) -> None:
        assert load({"admin_path": "/my/panel/"}, {}).admin_path == "/my/panel"


class TestMistakesInTheFile:
    @pytest.mark.parametrize(
        ("text", "key"),
        [
            ("listen = 11435", "listen = 11435"),
            ("[listen]\nport = 1", 'listen = {"port": 1}'),
            ("[timeouts]\nconnect = '10'", 'timeouts.connect = "10"'),
            ("[timeouts]\nconnect = -1", "timeouts.connect = -1"),
            ("[timeouts]\nidle = nan", "timeouts.idle = NaN"),
            ("[timeouts]\nidle = inf", "timeouts.idle = Infinity"),
            ("[timeouts]\nidle = true", "timeouts.idle = true"),
            ("[insights]\nslow_times = 0.5", "insights.slow_times = 0.5"),
            ('[insights]\nhidden = ["wait"]', 'insights.hidden = ["wait"]'),
            ("[retention]\ndays = 1.5", "retention.days = 1.5"),
            ("[retention]\ndays = 999999", "retention.days = 999999"),
            ("[retention]\nrecent = 0", "retention.recent = 0"),
            ("[retention]\ndays = 2026-01-01", 'retention.days = "2026-01-01"'),
            ("[privacy]\nmode = 'all'", 'privacy.mode = "all"'),
            ("[privacy]\nmode = []", "privacy.mode = []"),
            ("[privacy]\nredact = 'x'", 'privacy.redact = "x"'),
            ("[privacy]\nredact = [1]", "privacy.redact = [1]"),
            ("models_interval = 0", "models_interval = 0"),
            ("data_dir = '~no-such-user-here/x'", 'data_dir = "~no-such-user-here/x"'),
            ("timeouts = 5", "timeouts = 5"),
        ],
    )
    def test_wrong_value_names_key_value_and_file(self, text: str, key: str) -> None:
        message = refused(text=text)
        assert message.startswith(f"{key} (file proxy.toml): expected ")

    @pytest.mark.parametrize("value", ['{ me = "sk-secret" }', '{ "" = "00" }', '["sk-secret"]'])
    def test_what_may_be_a_key_is_not_shown(self, value: str) -> None:
        message = refused(text=f"[clients]\nkeys = {value}")
        assert message.startswith("clients.keys = … (file proxy.toml): expected a table of names")
        assert "sk-secret" not in message

    def test_keys_find_names(self) -> None:
        digest = "ab" * 32
        found = from_file(f'[clients.keys]\nbot = "sha256:{digest.upper()}"')
        assert found.clients.keys == {digest: "bot"}

    def test_broken_pattern_is_told_with_its_reason(self) -> None:
        message = refused(text='[privacy]\nredact = ["ok", "(x"]')
        assert message.startswith("privacy.redact = ")
        assert "unterminated subpattern" in message

    @pytest.mark.parametrize(
        ("text", "wrong", "near"),
        [
            ("listn = 'x'", "listn", "listen"),
            ("[timeouts]\nconect = 1", "timeouts.conect", "timeouts.connect"),
            ("[timeout]\nconnect = 1", "timeout.connect", "timeouts.connect"),
            ("mode = 'full'", "mode", "privacy.mode"),
        ],
    )
    def test_misspelt_key_gets_the_nearest_name(self, text: str, wrong: str, near: str) -> None:
        assert refused(text=text) == (
            f"{wrong} (file proxy.toml): no such setting; did you mean {near}?"
        )

    def test_a_text_without_quotes(self) -> None:
        message = refused(text="[privacy]\nmode = full")
        assert "line 2" in message and message.endswith("; a text stands in quotes")

    def test_key_like_no_other(self) -> None:
        assert refused(text="zzzz = 1") == "zzzz (file proxy.toml): no such setting"
        assert "no such setting" in refused(text="[zzzz]")

    def test_empty_section(self) -> None:
        assert from_file("[timeouts]\n") == load({}, {})

    def test_syntax_error_names_file_and_line(self) -> None:
        message = refused(text='listen = "127.0.0.1:1"\n\noops\n')
        assert message.startswith("config file proxy.toml: ")
        assert "line 3" in message

    def test_bytes_that_are_not_utf8(self) -> None:
        assert refused(text=b"\n\nx = '\xff'") == "config file proxy.toml: line 3 is not UTF-8"

    def test_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"nowhere\.toml: No such file or directory"):
            load({"config": str(tmp_path / "nowhere.toml")}, {})

    def test_empty_name_of_a_file(self) -> None:
        with pytest.raises(ConfigError, match="config file"):
            load({"config": ""}, {})

    def test_wrong_value_that_a_flag_overrides_does_no_harm(self) -> None:
        found = load({"config": "a", "listen": "127.0.0.1:1"}, {}, file("listen = 5"))
        assert found.listen.port == 1


class TestMistakesInTheEnvironment:
    @pytest.mark.parametrize(
        ("variable", "value"),
        [
            ("OLLAMA_PROXY_LISTEN", "nonsense"),
            ("OLLAMA_PROXY_TIMEOUTS_FIRST_BYTE", "ten"),
            ("OLLAMA_PROXY_TIMEOUTS_IDLE", "inf"),
            ("OLLAMA_PROXY_RETENTION_DAYS", "1.5"),
            ("OLLAMA_PROXY_PRIVACY_REDACT", "sk-.*"),
            ("OLLAMA_PROXY_PRIVACY_REDACT", "[" * 100_000),
            ("OLLAMA_PROXY_PRIVACY_MODE", "FULL\nx"),
        ],
    )
    def test_named_with_its_variable(self, variable: str, value: str) -> None:
        message = refused(environ={variable: value})
        assert f"(environment {variable}): expected " in message
        assert len(message) < 300


def test_the_example_is_toml() -> None:
    assert tomllib.loads(EXAMPLE.read_text()) == {
        "admin": {},
        "timeouts": {},
        "privacy": {},
        "clients": {},
        "insights": {},
        "retention": {},
        "alerts": {},
        "log": {},
    }


def test_a_misspelt_variable_is_told_and_a_platforms_own_is_not() -> None:
    environ = {
        "OLLAMA_PROXY_LISTN": "x:1",
        "OLLAMA_PROXY_LISTEN": "x:1",
        "OLLAMA_PROXY_PORT": "tcp://10.0.0.1:80",
        "OLLAMA_PROXY_SERVICE_HOST": "10.0.0.1",
        "OLLAMA_HOST": "x",
    }
    (line,) = config.misspelt(environ)
    assert "OLLAMA_PROXY_LISTN" in line
    assert "OLLAMA_PROXY_LISTEN?" in line

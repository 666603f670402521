"""What a process is called: from all ways to start a script, and never from anything secret."""

from __future__ import annotations

import os
import shlex
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxy.sensors.commands import NAME_CHARACTERS, is_own, program_name, script_name


@pytest.mark.parametrize(
    ("command", "script"),
    [
        ("python backtest.py", "backtest.py"),
        ("python3.11 /home/a/trading/backtest.py --key s3cret", "backtest.py"),
        ("python3.13t -u -X dev -W ignore:x -- run.py", "run.py"),
        ("python -Wignore -Xdev -OO job", "job"),
        ("python --check-hash-based-pycs always job.py", "job.py"),
        ("python -m pkg.mod --password s3cret", "pkg.mod"),
        ("python -Im pkg.mod", "pkg.mod"),
        ("python -mpkg.mod", "pkg.mod"),
        ("python -um pkg", "pkg"),
        ("python -c 'key = \"s3cret\"' s3cret.py", None),
        ("python -Ic 'key = \"s3cret\"'", None),
        ("python - s3cret.py", None),
        ("python", None),
        ("python .", None),
        ("python -m", None),
        ("pypy3.10 x.py", "x.py"),
        ("pythonw.exe C:\\\\work\\\\job.py", "job.py"),
        ("node app.js", "app.js"),
        ("node --inspect --max-old-space-size=4096 src/app.mjs", "app.mjs"),
        ("node --no-warnings serve s3cret", None),
        ("node --api-key s3cret app.js", None),
        ("node -r dotenv/config --import ./hook.mjs server", "server"),
        ("node /usr/local/bin/n8n start", "n8n"),
        ("node --eval=s3cret app.js", None),
        ("node -pe s3cret", None),
        ("nodejs -e s3cret", None),
        ("bun run index.ts", "index.ts"),
        ("bun install", None),
        ("deno run --allow-net --allow-read=/x main.ts s3cret", "main.ts"),
        ("deno run https://joe:s3cret@host/lib/main.ts?key=s3cret", None),
        ("deno run https://joe:s3cret@host/lib/main.ts", "main.ts"),
        ("deno run https://joe:s3cret.ts", None),
        ("deno task s3cret", None),
        ("uv run x.py", "x.py"),
        ("uv run -m pkg.mod", "pkg.mod"),
        ("uv run --with requests s3cret", None),
        ("uv publish --token s3cret", None),
        ("bash x.sh s3cret", "x.sh"),
        ("bash -eo pipefail +x ./deploy now", "deploy"),
        ("bash -- deploy", "deploy"),
        ("bash -lc 's3cret'", None),
        ("bash -s s3cret", None),
        ("sh -c 's3cret'", None),
        ("zsh --rcfile s3cret job.zsh", "job.zsh"),
        ("fish -C s3cret job.fish", "job.fish"),
        ("ruby -W0 -I lib -rjson bin/job.rb", "job.rb"),
        ("ruby -ne s3cret", None),
        ("perl -MJSON::PP -w /opt/job.pl s3cret", "job.pl"),
        ("perl -lane s3cret", None),
        ("php8.2 -d memory_limit=1G -f cron.php s3cret", "cron.php"),
        ("php -r s3cret", None),
        ("java -Xmx1g -Dkey=s3cret -jar /opt/app.jar s3cret", "app.jar"),
        ("java -Dname=s3cret -cp lib com.example.Main", "com.example.Main"),
        ("java -cp s3cret com.example.Main s3cret", "com.example.Main"),
        ("java --add-opens s3cret com.example.Main", None),
        ("curl -u joe:s3cret http://localhost/x.py", None),
        ("mypython s3cret.py", None),
    ],
)
def test_the_script_that_an_interpreter_runs(command: str, script: str | None) -> None:
    program, *arguments = shlex.split(command)
    assert script_name(program, arguments) == script


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("/usr/bin/python3.11", "python3.11"),
        ("/opt/app/server (deleted)", "server"),
        ("C:\\Programs\\client.exe", "client.exe"),
        ("/opt/a b/c d", "c d"),
        ("/opt/red\x1b[31m\nname\u202e", "red\ufffd[31m\ufffdname\ufffd"),
        (b"/opt/\xff\xfe".decode(errors="surrogateescape"), "\ufffd\ufffd"),
        ("/opt/" + "x" * 300, "x" * (NAME_CHARACTERS - 1) + "…"),
        ("", None),
    ],
)
def test_the_name_of_a_program_is_one_short_line(file: str, name: str | None) -> None:
    assert program_name(file) == name


LANGUAGES = ["python3", "node", "deno", "uv", "bash", "ruby", "perl", "php", "java", "bun"]


@given(st.sampled_from(LANGUAGES), st.lists(st.text(max_size=200), max_size=8))
def test_whatever_the_arguments_a_script_is_one_base_name_of_theirs(
    program: str, arguments: list[str]
) -> None:
    script = script_name(program, arguments)
    if script is not None:
        assert 0 < len(script) <= NAME_CHARACTERS
        assert script.isprintable()
        assert "/" not in script


@pytest.mark.parametrize(
    "command", ["python -c", "node -e", "bash -c", "ruby -e", "perl -E", "php -r", "bun -e"]
)
@given(arguments=st.lists(st.text(max_size=20), max_size=4))
def test_code_given_on_the_command_line_is_never_told(command: str, arguments: list[str]) -> None:
    program, option = command.split()
    assert script_name(program, [option, *arguments]) is None


BESIDE = os.path.dirname(sys.executable)


@pytest.mark.parametrize(
    ("file", "command", "folder", "own"),
    [
        (sys.executable, "-m ollama_proxy takeover --dry-run", "/", True),
        (sys.executable, "-Im ollama_proxy test", "/", True),
        (sys.executable, f"{BESIDE}/ollama-proxy test", "/", True),
        (sys.executable, "./ollama-proxy test", BESIDE, True),
        (sys.executable, "/home/a/ollama-proxy", "/", False),
        (sys.executable, "ollama_proxy", "/", False),
        (sys.executable, "-m pytest ollama_proxy", "/", False),
        (sys.executable, "backtest.py -m ollama_proxy", "/", False),
        ("/usr/bin/another", "-m ollama_proxy test", "/", False),
        (sys.executable, "-c x", "/", False),
        (sys.executable, "", "/", False),
    ],
)
def test_only_this_program_is_its_own(file: str, command: str, folder: str, own: bool) -> None:
    assert is_own(file, shlex.split(command), folder) is own

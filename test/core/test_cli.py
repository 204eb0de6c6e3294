import pytest

from cooptrack_core import __version__, cli


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--help"])
    text = capsys.readouterr().out
    assert ended.value.code == 0 and "usage: cooptrack " + command in text and "default" in text


def test_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert __version__ in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["validate", "nowhere"],
        ["to-bag", "nowhere", "out"],
        ["track", "nowhere"],
        ["from-bag", "nowhere", "--source", "nowhere"],
        ["report", "nowhere", "--source", "nowhere", "--out", "out"],
    ],
)
def test_what_does_not_exist_is_one_line_and_no_traceback(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code = cli.main(arguments)
    captured = capsys.readouterr()
    assert code in (1, 2)
    message = (captured.err + captured.out).strip()
    assert "nowhere" in message and len(message.splitlines()) == 1


def test_an_unknown_mode_names_those_that_exist(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["track", "bag", "--mode", "psychic"])
    assert ended.value.code == 2 and "'late'" in capsys.readouterr().err

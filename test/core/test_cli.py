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


def test_output_that_cannot_be_written_is_one_line_and_leaves_nothing(tmp_path):
    from cooptrack_core.report import make_directory, save_json
    from cooptrack_core.types import CooptrackError

    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    for target in (tmp_path / "folder", tmp_path / "file" / "out.json"):
        with pytest.raises(CooptrackError, match="output: cannot be written") as error:
            save_json({"frames": []}, target)
        assert "\n" not in str(error.value)
    with pytest.raises(CooptrackError, match="output: cannot be made"):
        make_directory(tmp_path / "file" / "report")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_a_file_that_no_command_can_use_is_one_line(monkeypatch, capsys):
    def full(args):
        raise OSError(28, "No space left on device", "/disk/out.mcap")

    monkeypatch.setattr("cooptrack_core.commands.validate.run", full)
    assert cli.main(["validate", "somewhere"]) == 2
    assert capsys.readouterr().err.startswith("cooptrack validate: error: /disk/out.mcap: file: No space left")

"""Files that appear together: killed at each step, in the way of each other, and out of reach of others."""

import json
import os
from pathlib import Path

import pytest

from mcpsec.deployment.staging import PREFIX, clean, stage
from mcpsec.errors import ConfigurationError
from tests.deployment.kills import kill_at_every_step

NAMES = ["pki", "notes", "mcpsec.toml"]


def fill(content: Path) -> None:
    (content / "pki").mkdir()
    for name in ("pki/key", "notes", "mcpsec.toml"):
        (content / name).write_text(name)


def leftovers(place: Path) -> list[str]:
    return [name for name in os.listdir(place) if name.startswith(PREFIX)]


def test_everything_arrives_and_nothing_else_stays(tmp_path: Path) -> None:
    with stage(tmp_path) as staged:
        fill(staged.content)
        assert os.listdir(tmp_path) == leftovers(tmp_path)
        staged.publish(NAMES)
    assert sorted(os.listdir(tmp_path)) == sorted(NAMES)
    assert (tmp_path / "pki" / "key").read_text() == "pki/key"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork: run it on Linux or macOS")
@pytest.mark.parametrize("where", ["inside", "new"])
def test_killed_before_each_step(tmp_path: Path, where: str) -> None:
    inside = where == "inside"
    setup = f"""
        import os
        from pathlib import Path
        from mcpsec.deployment.staging import clean, exists, stage
        from tests.deployment.test_staging import NAMES, fill

        def make(directory):
            if os.path.lexists(directory / "mcpsec.toml"):
                clean(directory)
                clean(directory.parent)
                raise exists(directory)
            place, names = (directory, NAMES) if {inside} else (directory.parent, [directory.name])
            with stage(place) as staged:
                content = staged.content if {inside} else staged.content / directory.name
                content.mkdir(exist_ok=True)
                fill(content)
                staged.publish(names)
    """
    kill_at_every_step(tmp_path, setup, NAMES, inside=inside)


@pytest.mark.parametrize("name", NAMES)
def test_what_appears_meanwhile_stays_and_the_rest_is_taken_back(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"/{name}: already exists"), stage(tmp_path) as staged:
        fill(staged.content)
        if name == "pki":
            (tmp_path / "pki").mkdir()
        (tmp_path / name / "x" if name == "pki" else tmp_path / name).write_text("mine")
        staged.publish(NAMES)
    assert os.listdir(tmp_path) == [name]
    assert (tmp_path / name / "x" if name == "pki" else tmp_path / name).read_text() == "mine"


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), stage(tmp_path) as staged:
        fill(staged.content)
        raise RuntimeError
    assert os.listdir(tmp_path) == []


def test_a_run_that_is_still_going_is_left_alone(tmp_path: Path) -> None:
    with stage(tmp_path) as first:
        fill(first.content)
        with stage(tmp_path) as second:
            (second.content / "other").write_text("")
            second.publish(["other"])
        first.publish(NAMES)
    assert sorted(os.listdir(tmp_path)) == sorted([*NAMES, "other"])


def journal(place: Path, names: dict[str, Path]) -> None:
    stale = place / f"{PREFIX}stale"
    stale.mkdir()
    stats = {name: path.stat() for name, path in names.items()}
    entries = {name: [status.st_dev, status.st_ino] for name, status in stats.items()}
    (stale / "journal.json").write_text(json.dumps(entries))


def test_taking_back_touches_only_what_was_moved(tmp_path: Path) -> None:
    """A file of the same name that is another one, and anything once the commit point is there, is not ours to move."""
    for name in ("pki", "other"):
        (tmp_path / name).write_text("mine")
    journal(tmp_path, {"pki": tmp_path / "other", "mcpsec.toml": tmp_path / "other"})
    clean(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["other", "pki"]
    (tmp_path / "mcpsec.toml").write_text("edited since: a new file")
    journal(tmp_path, {"pki": tmp_path / "pki", "mcpsec.toml": tmp_path / "other"})
    clean(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["mcpsec.toml", "other", "pki"]


def test_a_journal_names_nothing_elsewhere(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    (tmp_path / "victim").write_text("mine")
    journal(place, {"../victim": tmp_path / "victim", "x": tmp_path / "victim"})
    clean(place)
    assert (tmp_path / "victim").read_text() == "mine"
    assert leftovers(place) == []


def test_links_are_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "x").write_text("mine")
    (tmp_path / f"{PREFIX}link").symlink_to(target)
    clean(tmp_path)
    assert (target / "x").read_text() == "mine"


def test_a_place_that_can_not_be_written_to(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="can't write there"), stage(tmp_path / "missing"):
        pass

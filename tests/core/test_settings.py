"""Settings: four sources, each stronger than the one before; errors name file and line."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from dsmanager.errors import NotFoundError, UsageError
from dsmanager.settings import RemoteConfig, Settings, add_remote


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    """A user's configuration, a project with a folder below it, and a home."""
    project = tmp_path / "project"
    (project / "deep" / "er").mkdir(parents=True)
    return {
        "config": tmp_path / "home" / ".config" / "dsmanager" / "config.toml",
        "project": project / "dsmanager.toml",
        "here": project / "deep" / "er",
    }


@pytest.fixture
def load(places: dict[str, Path]) -> Callable[..., Settings]:
    """Settings of the files' texts, an environment and flags."""

    def load(config: str = "", project: str = "", env: dict[str, str] | None = None, **flags):
        for name, text in (("config", config), ("project", project)):
            if text:
                places[name].parent.mkdir(parents=True, exist_ok=True)
                places[name].write_text(text)
        environ = {"DSMANAGER_CONFIG": str(places["config"]), **(env or {})}
        return Settings.load(environ=environ, working_dir=places["here"], **flags)

    return load


def test_each_level_is_stronger_than_the_one_before(load):
    levels = {
        "config": 'data_dir = "/of/config"\nmanifest = "/m/config"\nremote = "s3://config"',
        "project": 'data_dir = "/of/project"\nmanifest = "/m/project"\nremote = "s3://project"',
        "env": {
            "DSMANAGER_DATA_DIR": "/of/env",
            "DSMANAGER_MANIFEST": "/m/env",
            "DSMANAGER_REMOTE": "s3://env",
        },
    }
    flags = {"data_dir": "/of/flag", "manifest": "/m/flag", "remote": "s3://flag"}
    given_so_far: dict = {}
    for level in (*levels, "flag"):
        given_so_far |= flags if level == "flag" else {level: levels[level]}
        settings = load(**given_so_far)
        assert settings.data_dir == Path(f"/of/{level}")
        assert settings.manifest_path == Path(f"/m/{level}")
        assert settings.require_remote().bucket == level


def test_a_level_that_is_silent_leaves_what_the_weaker_one_says(load):
    settings = load(config='data_dir = "/a"', project='remote = "s3://bb"', env={})
    assert (settings.data_dir, settings.remote) == (Path("/a"), "s3://bb")
    assert load(env={"DSMANAGER_DATA_DIR": ""}, data_dir="").data_dir == Path("/a")


def test_relative_paths_in_a_file_are_relative_to_that_file(load, places):
    settings = load(
        config='data_dir = "data"\nbuilders = ["b", "../c", "~/d"]',
        project='manifest = "../m.json"\n[remotes.r]\nurl = "s3://bb"\ncredentials_file = "keys"',
    )
    config_dir, project_dir = places["config"].parent, places["project"].parent
    assert settings.data_dir == config_dir / "data"
    home = Path(os.path.expanduser("~"))
    assert settings.builders == (config_dir / "b", config_dir.parent / "c", home / "d")
    assert settings.manifest_path == project_dir.parent / "m.json"
    assert settings.remotes["r"].credentials_file == project_dir / "keys"


def test_relative_paths_of_environment_and_flags_are_relative_to_the_current_folder(load, places):
    assert load(env={"DSMANAGER_DATA_DIR": "x"}).data_dir == places["here"] / "x"
    assert load(data_dir="../y").data_dir == places["here"].parent / "y"


def test_the_data_dir_defaults_to_tfds_own(load):
    assert load(env={"TFDS_DATA_DIR": "/tfds"}).data_dir == Path("/tfds")
    assert load().data_dir == Path(os.path.expanduser("~/tensorflow_datasets"))
    both = {"TFDS_DATA_DIR": "/tfds", "DSMANAGER_DATA_DIR": "/ours"}
    assert load(env=both).data_dir == Path("/ours")


@pytest.mark.parametrize("url", ["s3://bucket/data", "gs://bucket", Path("s3://bucket")])
def test_a_url_is_no_data_dir(load, url):
    with pytest.raises(UsageError, match="is no folder of this machine"):
        load(data_dir=url)
    with pytest.raises(UsageError, match="is no folder of this machine"):
        load(env={"TFDS_DATA_DIR": str(url)})


def test_the_manifest_is_the_nearest_one_upward_else_the_data_dirs(load, places):
    assert load(data_dir="/d").manifest_path == Path("/d/datasets.json")
    nearest = places["project"].with_name("datasets.json")
    nearest.write_text("{}")
    assert load(data_dir="/d").manifest_path == nearest
    assert load(data_dir="/d", manifest="/m.json").manifest_path == Path("/m.json")


def test_an_unknown_home_is_no_crash(load):
    settings = load(config='data_dir = "~nobody-of-that-name/data"')
    assert settings.data_dir.name == "data"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('data_dir = "/a"\nremote = ', r"line 2"),
        ('a = 1\n\n[remotes\nurl="x"', r"line 3"),
        ('data_dir = """never ends\n\n', r"line 2, the end of the file"),
        ('data_dir = "/a"\ndata_dir = "/b"', r"line 2"),
        ("data_dir = 5", "data_dir must be a text"),
        ('data_dir = ""', "data_dir is empty"),
        ('data_dir = "\\u0000"', "data_dir is empty or holds a null"),
        ('datadir = "/a"', "unknown key datadir; did you mean data_dir?"),
        ('builders = "x"', "builders must be a list"),
        ("builders = [1]", "builders must be a list of folders"),
        ('remotes = "x"', "remotes must be tables"),
        ("[remotes.team]", "remotes.team has no url"),
        ('[remotes.team]\nurl = "s3://b"', "remote 'team': 's3://b' is not of the form"),
        ('[remotes.t]\nurl = "s3://bb"\nregoin = "x"', "remotes.t.regoin; did you mean region?"),
        ('[remotes.t]\nurl = "s3://bb"\nanonymous = "yes"', "anonymous must be true or false"),
        ('[remotes.t]\nurl = "s3://bb"\nendpoint_url = "minio:9000"', "http"),
        ("a = " + "[" * 5000, "nested too deeply"),
        ("a = " + "1" * 5000, "not valid TOML"),
    ],
)
@pytest.mark.parametrize("where", ["config", "project"])
def test_a_broken_file_is_a_usage_error_that_names_file_and_line(load, places, where, text, says):
    with pytest.raises(UsageError, match=says) as raised:
        load(**{where: text})
    assert raised.value.exit_code == 2
    assert str(places[where]) in raised.value.message
    assert "\n" not in raised.value.message


def test_a_file_that_is_not_utf8_names_the_line(load, places):
    places["project"].write_bytes(b'data_dir = "/a"\nremote = "\xff"\n')
    with pytest.raises(UsageError, match="line 2 is not UTF-8"):
        load()


@hypothesis_settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.text(max_size=80)
    | st.text(alphabet='abdirt_=["]{}.\n 12"', max_size=80)
    | st.dictionaries(
        st.sampled_from(["data_dir", "remote", "builders", "remotes.a.url", "x"]),
        st.sampled_from(
            ['"s3://bb/c"', '"x"', "1", "[]", "[[1]]", "{}", "true", "nan", '"\\u0001"']
        ),
    ).map(lambda table: "\n".join(f"{key} = {value}" for key, value in table.items()))
)
def test_any_text_is_settings_or_a_usage_error(load, places, text):
    places["project"].write_text(text, "utf-8", "ignore")
    try:
        settings = load()
    except UsageError:
        return
    assert settings.data_dir.is_absolute()


@pytest.mark.parametrize(
    ("url", "bucket", "prefix"),
    [
        ("s3://bucket", "bucket", "datasets/cache"),
        ("s3://bucket/", "bucket", ""),
        ("s3://bucket/a/b", "bucket", "a/b"),
        ("s3://bucket/a/b/", "bucket", "a/b"),
        ("s3://my.bucket-1/ä b", "my.bucket-1", "ä b"),
    ],
)
def test_forms_of_the_url(url, bucket, prefix):
    remote = RemoteConfig("r", url)
    assert (remote.bucket, remote.prefix) == (bucket, prefix)


@pytest.mark.parametrize(
    "url",
    ["", "bucket", "s3:/bucket", "s3://", "s3:///x", "s3://b", "http://bucket/x", "S3://bucket",
     "s3://bucket/../x", "s3://bucket/a/..", "s3://key:secret@bucket/x", "s3://bucket/a\nb"],
)  # fmt: skip
def test_other_urls_are_refused_without_showing_secrets(url):
    with pytest.raises(UsageError, match="is not of the form s3://bucket") as raised:
        RemoteConfig(url, url)
    assert "secret" not in raised.value.message


TEAM = '[remotes.team]\nurl = "s3://team-bucket/p"\nendpoint_url = "http://h:1"\n'
BOTH = TEAM + '[remotes.other]\nurl = "s3://other-bucket/p"\n'


def test_the_only_remote_is_the_current_one(load):
    assert load(config=TEAM).require_remote().name == "team"


def test_of_several_remotes_one_is_chosen(load):
    with pytest.raises(UsageError, match=r"several remotes are configured \(team, other\)"):
        load(config=BOTH).require_remote()
    assert load(env={"DSMANAGER_REMOTE": "other"}).require_remote().name == "other"
    assert load(remote="team").require_remote().name == "team"


def test_without_a_remote_the_hint_says_how_to_get_one(load):
    with pytest.raises(UsageError, match="no remote is configured") as raised:
        load().require_remote()
    assert "dsmanager remote add" in str(raised.value.hint)
    assert load().current_remote() is None


def test_an_unknown_remote_is_not_found_with_near_names(load):
    with pytest.raises(NotFoundError, match="no remote 'taem' is configured; did you mean team"):
        load(config=TEAM, remote="taem").require_remote()


def test_a_url_of_a_configured_place_takes_its_settings(load):
    found = load(config=BOTH, remote="s3://team-bucket/p/").require_remote()
    assert (found.name, found.endpoint_url) == ("team", "http://h:1")
    bare = load(remote="s3://elsewhere").require_remote()
    assert (bare.name, bare.prefix) == ("s3://elsewhere", "datasets/cache")


def test_a_project_replaces_a_remote_of_the_users_and_adds_others(load):
    settings = load(config=BOTH, project='[remotes.team]\nurl = "s3://mine"\n')
    assert settings.remotes["team"].bucket == "mine"
    assert settings.remotes["team"].endpoint_url is None
    assert set(settings.remotes) == {"team", "other"}


@pytest.mark.parametrize("value", ["0", "false", "False", "no", "OFF", " false "])
def test_armorys_verify_ssl_turns_certificates_off(load, value):
    env = {"VERIFY_SSL": value}
    assert not load(config=TEAM, env=env).require_remote().verify_tls
    assert not load(env=env, remote="s3://bare").require_remote().verify_tls


@pytest.mark.parametrize("value", ["", "1", "true", "yes", "/path/to/ca"])
def test_other_values_of_verify_ssl_leave_them_on(load, value):
    assert load(config=TEAM, env={"VERIFY_SSL": value}).require_remote().verify_tls


COMMENTED = """# mine
data_dir = "/a"  # why

# the team's
[remotes.team]
url = "s3://team-bucket/p"  # old

[remotes.other]
url = "s3://other-bucket/p"  # stays
"""


@pytest.mark.parametrize(
    "text",
    [
        "",
        COMMENTED,
        'remotes = {team = {url = "s3://old-bucket"}}\n',
        'remotes.team.url = "s3://old-bucket"\n',
        "[remotes]\n",
        'remote = "x"\n[remotes]\nteam = {url = "s3://old-bucket"}\n',
    ],
)
def test_a_remote_that_is_added_is_read_back(tmp_path, text):
    config = tmp_path / "config.toml"
    config.write_text(text)
    remote = RemoteConfig("team", "s3://bucket/x", "http://h:1", "eu", "me", True, False)
    dotted = RemoteConfig("a.b", "s3://bucket/", credentials_file=tmp_path / "keys")
    add_remote(config, remote, make_current=True)
    add_remote(config, dotted)
    settings = Settings.load(environ={"DSMANAGER_CONFIG": str(config)}, working_dir=tmp_path)
    assert settings.remotes["team"] == remote
    assert settings.remotes["a.b"] == dotted
    assert settings.remote == "team"
    before = set(tomllib.loads(text).get("remotes", {}))
    assert set(settings.remotes) == before | {"team", "a.b"}
    assert os.listdir(tmp_path) == ["config.toml"]


def test_comments_stay_and_a_link_stays_a_link(tmp_path):
    real = tmp_path / "dotfiles" / "config.toml"
    real.parent.mkdir()
    real.write_text(COMMENTED)
    link = tmp_path / "config.toml"
    link.symlink_to(real)
    add_remote(link, RemoteConfig("team", "s3://bucket/new"))
    assert link.is_symlink()
    text = real.read_text()
    for comment in ("# mine", "# why", "# the team's", "# stays"):
        assert comment in text
    assert "s3://bucket/new" in text


@pytest.mark.parametrize(
    "remote",
    [
        RemoteConfig("team", "s3://bucket", endpoint_url="https://user:secret@minio:9000"),
        RemoteConfig("team", "s3://bucket", endpoint_url="minio:9000"),
        RemoteConfig("a/b", "s3://bucket"),
        RemoteConfig("", "s3://bucket"),
        RemoteConfig("s3://bucket", "s3://bucket"),
    ],
)
def test_what_does_not_belong_in_the_file_is_refused_and_not_written(tmp_path, remote):
    with pytest.raises(UsageError) as raised:
        add_remote(tmp_path / "config.toml", remote)
    assert "secret" not in raised.value.message
    assert os.listdir(tmp_path) == []


def test_adding_to_a_broken_file_changes_nothing(tmp_path):
    config = tmp_path / "config.toml"
    config.write_text("remote = \n")
    with pytest.raises(UsageError, match="line 1"):
        add_remote(config, RemoteConfig("team", "s3://bucket"))
    assert config.read_text() == "remote = \n"

from __future__ import annotations

import dataclasses
import math
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gstream.config import ALWAYS, NEVER, Config, LoadedConfig, load_config, settings, show_sync
from gstream.errors import ConfigError

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
SIZES = [
    ("65536", 65536),
    ("100B", 100),
    ("1KB", 1000),
    ("512KiB", 512 * KIB),
    ("2MB", 2_000_000),
    ("1MiB", MIB),
    ("1mib", MIB),
    ("3 MiB", 3 * MIB),
    ("1GB", 10**9),
    ("1GiB", GIB),
]
BAD_SIZES = ["", "0", "-1", "1.5MiB", "MiB", "1TiB", "1 Mi", "1e6", " 1", "1  MiB", "1MiB ", "\u0665", "1\n", "ten"]
WORDS = [
    ("true", True),
    ("YES", True),
    ("on", True),
    ("1", True),
    ("false", False),
    ("no", False),
    ("Off", False),
    ("0", False),
]
BAD_WORDS = ["", "2", "y", "enable", "true "]
GOOD = {
    "host": [("::1", "::1"), ("localhost", "localhost")],
    "port": [("0", 0), ("8080", 8080), ("65535", 65535), ("0080", 80)],
    "socket": [("/run/gstream.sock", "/run/gstream.sock")],
    "max-message": [*SIZES, ("1", 1)],
    "max-memory": [*SIZES, ("1", 1), ("1000GiB", 1000 * GIB), (str(1 << 50), 1 << 50)],
    "retain": [*SIZES, ("0", 0), (str(1 << 50), 1 << 50)],
    "data-dir": [("/var/lib/gstream", "/var/lib/gstream"), ("data", "data")],
    "sync": [("always", 0.0), ("Never", math.inf), ("1", 1.0), ("0.5", 0.5), (".001", 0.001), ("60.", 60.0)],
    "retain-bytes": [*SIZES, ("0", 0), (str(1 << 50), 1 << 50)],
    "retain-seconds": [("0", 0.0), ("86400", 86_400.0), (".5", 0.5), ("999999999", 999_999_999.0)],
    "segment-bytes": [*(case for case in SIZES if case[1] >= KIB), ("1024", 1024), ("2GiB", 2 * GIB)],
    "segment-seconds": [("1", 1.0), ("1.5", 1.5), ("604800", 604_800.0), ("999999999", 999_999_999.0)],
    "kafka": WORDS,
    "kafka-host": [("::1", "::1"), ("localhost", "localhost")],
    "kafka-port": [("0", 0), ("9092", 9092), ("65535", 65535)],
    "kafka-advertise": [(address, address) for address in ("broker.example:9092", "10.0.0.1:1", "[::1]:65535")],
    "kafka-partitions": [("1", 1), ("1024", 1024)],
    "kafka-auto-create": WORDS,
    "kafka-group-delay": [("0", 0.0), ("3", 3.0), (".5", 0.5)],
    "lease": [("0.001", 0.001), ("30", 30.0), (".5", 0.5), ("999999999", 999_999_999.0)],
    "max-attempts": [("0", 0), ("5", 5), ("1000000", 1_000_000)],
    "partitions": [("1", 1), ("1024", 1024)],
    "max-topics": [("1", 1), ("1000000", 1_000_000)],
    "max-groups": [("1", 1), ("1000000", 1_000_000)],
    "max-connections": [("1", 1), ("10000000", 10_000_000)],
    "grace": [("0", 0.0), ("10", 10.0), ("0.5", 0.5), (".25", 0.25), ("3.", 3.0)],
    "banner": WORDS,
    "insecure": WORDS,
    "log-level": [("debug", "debug"), ("INFO", "info"), ("Warning", "warning"), ("error", "error")],
    "log-json": WORDS,
}
BAD = {
    "host": ["", "a\0b"],
    "port": ["", "-1", "65536", "1.0", "http", " 80", "80 ", "٨٠", "1\n", "+1", "0x50", "1_000", "1" * 5000],
    "socket": ["", "a\0b"],
    "max-message": [*BAD_SIZES, "1025MiB", "2GiB", str(GIB + 1)],
    "max-memory": [*BAD_SIZES, str((1 << 50) + 1)],
    "retain": [*(size for size in BAD_SIZES if size != "0"), str((1 << 50) + 1)],
    "data-dir": ["", "a\0b"],
    "sync": ["", "0", "0.0009", "-1", "1e3", "nan", "inf", "sometimes", "always ", "1s", "1000000000", " 1"],
    "retain-bytes": [*(size for size in BAD_SIZES if size != "0"), str((1 << 50) + 1)],
    "retain-seconds": ["", "-1", "1e3", "nan", "inf", "never", "1000000000", "10s", " 1"],
    "segment-bytes": [*BAD_SIZES, "1", "1023", str(2 * GIB + 1), "3GiB"],
    "segment-seconds": ["", "0", "0.9", "-1", "1e3", "nan", "inf", "never", "1000000000", "1d"],
    "kafka": BAD_WORDS,
    "kafka-host": ["", "a\0b"],
    "kafka-port": ["", "-1", "65536", "1.0", "kafka"],
    "kafka-advertise": [
        "",
        "a",
        ":9092",
        "a:",
        "a:0",
        "a:65536",
        "::1:9092",
        "[xyz]:1",
        "a b:1",
        "a:1 ",
        "x" * 256 + ":1",
    ],
    "kafka-partitions": ["", "0", "-1", "1025", "1.5"],
    "kafka-auto-create": BAD_WORDS,
    "kafka-group-delay": ["", "-1", "1e3", "nan", "inf", "3s"],
    "lease": ["", "0", "0.0009", "-1", "1e3", "nan", "inf", ".", "1000000000", "10s", " 1"],
    "max-attempts": ["", "-1", "1000001", "1.5", "many"],
    "partitions": ["", "0", "-1", "1025", "1.5"],
    "max-topics": ["", "0", "-1", "1000001", "1.5"],
    "max-groups": ["", "0", "-1", "1000001", "1.5"],
    "max-connections": ["", "0", "-1", "10000001", "1.5", "many"],
    "grace": ["", "-1", "1e3", "nan", "inf", ".", "1.2.3", "10s", "1,5", " 1", "1\n"],
    "banner": BAD_WORDS,
    "insecure": BAD_WORDS,
    "log-level": ["", "trace", "10", "info "],
    "log-json": BAD_WORDS,
}
FIELDS = {setting.option: each.name for each, setting in settings()}


def cases(table):
    return [pytest.param(option, *case, id=f"{option}={case[0]!r:.20}") for option in table for case in table[option]]


def value_of(loaded, option):
    return getattr(loaded.config, FIELDS[option])


@pytest.fixture
def write(tmp_path):
    """``write(text)``: a configuration file; gives its path."""

    def write(text):
        path = tmp_path / "gstream.toml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def test_every_setting_is_tried_here():
    assert list(GOOD) == list(BAD) == list(FIELDS)


def test_the_defaults():
    assert dataclasses.asdict(Config()) == {
        "host": "127.0.0.1",
        "port": 8080,
        "socket": None,
        "max_message_bytes": MIB,
        "max_memory_bytes": GIB,
        "retain_bytes": 16 * MIB,
        "data_dir": None,
        "sync_seconds": 0.0,
        "limit_bytes": 0,
        "limit_seconds": 0.0,
        "segment_bytes": 64 * MIB,
        "segment_seconds": 604_800.0,
        "kafka": False,
        "kafka_host": "127.0.0.1",
        "kafka_port": 9092,
        "kafka_advertise": None,
        "kafka_partitions": None,
        "kafka_auto_create": True,
        "kafka_group_delay_seconds": 0.0,
        "lease_seconds": 30.0,
        "max_attempts": 5,
        "partitions": 1,
        "max_topics": 10_000,
        "max_groups": 10_000,
        "max_connections": 16384,
        "grace_seconds": 10.0,
        "banner": True,
        "insecure": False,
        "log_level": "info",
        "log_json": False,
    }
    loaded = load_config({}, {})
    assert loaded.config == Config()
    assert set(loaded.sources.values()) == {"default"}


def test_a_configuration_does_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().port = 1


@pytest.mark.parametrize(("option", "text", "value"), cases(GOOD))
def test_what_a_setting_takes(option, text, value):
    for flags, environment in (({option: text}, {}), ({}, {"GSTREAM_" + option.upper().replace("-", "_"): text})):
        got = value_of(load_config(flags, environment), option)
        assert got == value
        assert type(got) is type(value)


@pytest.mark.parametrize(("option", "text"), cases({option: [(text,) for text in BAD[option]] for option in BAD}))
def test_what_a_setting_does_not_take(option, text, write):
    with pytest.raises(ConfigError, match=rf"^--{option}: expected [^\n]+, got [^\n]+\Z"):
        load_config({option: text}, {})
    variable = "GSTREAM_" + option.upper().replace("-", "_")
    if text:  # an empty one is not set
        with pytest.raises(ConfigError, match=rf"^{variable}: expected [^\n]+, got [^\n]+\Z"):
            load_config({}, {variable: text})


FILE_VALUES = [
    ("host", '"::1"', "::1"),
    ("port", "9000", 9000),
    ("port", '"9000"', 9000),
    ("socket", '"a\\\\b c"', "a\\b c"),
    ("max-message", "4096", 4096),
    ("max-message", '"4KiB"', 4096),
    ("data-dir", '"/srv/messages"', "/srv/messages"),
    ("sync", '"always"', 0.0),
    ("sync", '"NEVER"', math.inf),
    ("sync", "1", 1.0),
    ("sync", "0.5", 0.5),
    ("sync", '"0.5"', 0.5),
    ("retain-bytes", '"1GiB"', GIB),
    ("retain-bytes", "0", 0),
    ("retain-seconds", "3600", 3600.0),
    ("segment-bytes", "65536", 65536),
    ("segment-seconds", "60", 60.0),
    ("grace", "3", 3.0),
    ("grace", "0.5", 0.5),
    ("grace", '"0.5"', 0.5),
    ("banner", "false", False),
    ("insecure", "true", True),
    ("log-json", '"yes"', True),
    ("log-level", '"DEBUG"', "debug"),
]


@pytest.mark.parametrize(("option", "text", "value"), FILE_VALUES)
def test_a_file_has_values_of_its_own_kinds(option, text, value, write):
    loaded = load_config({}, {}, write(f"{option} = {text}\n"))
    got = value_of(loaded, option)
    assert got == value
    assert type(got) is type(value)
    assert loaded.sources[FIELDS[option]] == "file"


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("host", "1"),
        ("host", "true"),
        ("host", '["::1"]'),
        ("port", "true"),
        ("port", "80.0"),
        ("port", "[80]"),
        ("port", "-1"),
        ("max-message", "true"),
        ("max-message", "1.5"),
        ("max-message", "0"),
        ("max-message", "-1"),
        ("max-message", "{ MiB = 1 }"),
        ("max-connections", "1979-05-27"),
        ("data-dir", "1"),
        ("data-dir", "true"),
        ("sync", "true"),
        ("sync", "0"),
        ("sync", "-1"),
        ("sync", "inf"),
        ("sync", '["always"]'),
        ("retain-bytes", "-1"),
        ("retain-seconds", "nan"),
        ("segment-bytes", "1000"),
        ("segment-seconds", "0.5"),
        ("grace", "true"),
        ("grace", "nan"),
        ("grace", "inf"),
        ("grace", "-0.5"),
        ("grace", "1e9"),
        ("banner", "2"),
        ("banner", "1.0"),
        ("banner", '["true"]'),
        ("log-level", "10"),
    ],
)
def test_values_that_a_file_may_not_have(option, text, write):
    path = write(f"{option} = {text}\n")
    with pytest.raises(ConfigError) as caught:
        load_config({}, {}, path)
    assert str(caught.value).startswith(f"{option} in {path}: expected ")
    assert "\n" not in str(caught.value)


def test_flags_win_over_the_environment_over_the_file_over_the_defaults(write):
    path = write("port = 1\nmax-connections = 1\ngrace = 1\n")
    environment = {"GSTREAM_PORT": "2", "GSTREAM_MAX_CONNECTIONS": "2"}
    loaded = load_config({"port": "3", "host": None}, environment, path)
    config = loaded.config
    assert (config.port, config.max_connections, config.grace_seconds, config.host) == (3, 2, 1.0, "127.0.0.1")
    sources = loaded.sources
    assert [sources[name] for name in ("port", "max_connections", "grace_seconds", "host")] == [
        "flag",
        "environment",
        "file",
        "default",
    ]
    assert list(sources) == [each.name for each in dataclasses.fields(Config)]


def test_a_false_flag_wins_too(write):
    loaded = load_config({"banner": "false"}, {"GSTREAM_BANNER": "true"}, write("banner = true\n"))
    assert loaded.config.banner is False
    assert loaded.sources["banner"] == "flag"


def test_the_environment_names_a_file_unless_a_flag_does(write, tmp_path):
    path = write("port = 1\n")
    other = tmp_path / "other.toml"
    other.write_text("port = 2\n")
    assert load_config({}, {"GSTREAM_CONFIG": path}).config.port == 1
    assert load_config({}, {"GSTREAM_CONFIG": path}, str(other)).config.port == 2
    assert load_config({}, {"GSTREAM_CONFIG": ""}).config.port == 8080


def test_an_empty_variable_is_none(write):
    assert load_config({}, {setting.variable: "" for _, setting in settings()}).config == Config()
    assert load_config({}, {"GSTREAM_PORT": ""}, write("port = 2\n")).config.port == 2


@pytest.mark.parametrize(
    "text",
    [
        "port = " + "[" * 100_000,
        "port = " + "1" * 5000,
        "grace = 0x" + "f" * 5000,
        "grace = 1" + "0" * 400,
        "port = -1" + "0" * 19,
    ],
    ids=["nested", "5000 digits", "hexadecimal", "400 digits", "20 digits"],
)
def test_a_file_of_the_malicious(text, write):
    with pytest.raises(ConfigError, match="is no TOML file"):
        load_config({}, {}, write(text))


def test_other_variables_are_nobodys_business():
    assert load_config({}, {"PORT": "x", "GSTREAM_PORTS": "x", "gstream_port": "x"}).config == Config()


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("prot", "did you mean port?"),
        ("max_memory", "did you mean max-memory?"),
        ("max-mesage", "did you mean max-message?"),
        ("max-atempts", "did you mean max-attempts?"),
        ("xyz", "known are host, port, socket, max-message, max-memory, retain, data-dir, sync, retain-bytes, "),
        ("sinc", "did you mean sync?"),
        ("data_dir", "did you mean data-dir?"),
    ],
)
def test_an_unknown_key_is_refused_with_a_suggestion(key, hint, write):
    path = write(f'{key} = "1"\n')
    with pytest.raises(ConfigError) as caught:
        load_config({}, {}, path)
    assert str(caught.value).startswith(f"{path}: unknown key '{key}'; {hint}")


def test_a_table_is_an_unknown_key(write):
    with pytest.raises(ConfigError, match="unknown key 'server'"):
        load_config({}, {}, write("[server]\nport = 1\n"))


def test_a_file_that_is_not_there(tmp_path):
    path = tmp_path / "none.toml"
    with pytest.raises(ConfigError) as caught:
        load_config({}, {}, str(path))
    assert str(caught.value) == f"cannot read the configuration file {path}: No such file or directory"


def test_a_file_that_is_a_directory(tmp_path):
    with pytest.raises(ConfigError, match=r"^cannot read the configuration file .*: Is a directory$"):
        load_config({}, {}, str(tmp_path))


@pytest.mark.parametrize("content", [b"port", b"port = \n", b'host = "a', b"port = 1\nport = 2\n", b'host = "\xff"\n'])
def test_a_file_that_is_no_toml(content, tmp_path):
    path = tmp_path / "gstream.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_config({}, {}, str(path))
    assert str(caught.value).startswith(f"{path} is no TOML file: ")
    assert "\n" not in str(caught.value)


def test_an_empty_file_is_one(write):
    assert load_config({}, {}, write("")).config == Config()


def test_lines_are_a_file_with_the_source_of_each():
    loaded = load_config({"port": "9000", "max-message": "64KiB"}, {"GSTREAM_GRACE": "0.5"})
    assert loaded.lines() == [
        'host = "127.0.0.1"                   # default',
        "port = 9000                          # flag",
        "# socket is not set                  # default",
        'max-message = "64KiB"                # flag',
        'max-memory = "1GiB"                  # default',
        'retain = "16MiB"                     # default',
        "# data-dir is not set                # default",
        'sync = "always"                      # default',
        "retain-bytes = 0                     # default",
        "retain-seconds = 0                   # default",
        'segment-bytes = "64MiB"              # default',
        "segment-seconds = 604800             # default",
        "kafka = false                        # default",
        'kafka-host = "127.0.0.1"             # default',
        "kafka-port = 9092                    # default",
        "# kafka-advertise is not set         # default",
        "# kafka-partitions is not set        # default",
        "kafka-auto-create = true             # default",
        "kafka-group-delay = 0                # default",
        "lease = 30                           # default",
        "max-attempts = 5                     # default",
        "partitions = 1                       # default",
        "max-topics = 10000                   # default",
        "max-groups = 10000                   # default",
        "max-connections = 16384              # default",
        "grace = 0.5                          # environment",
        "banner = true                        # default",
        "insecure = false                     # default",
        'log-level = "info"                   # default',
        "log-json = false                     # default",
    ]


def test_lines_of_a_server_with_a_data_directory():
    flags = {"data-dir": "/srv/messages", "retain-bytes": "1GiB", "segment-seconds": "90"}
    lines = load_config({**flags, "sync": "0.5"}, {"GSTREAM_RETAIN_SECONDS": "3600"}).lines()
    assert [line for line in lines if not line.endswith("default")] == [
        'data-dir = "/srv/messages"           # flag',
        "sync = 0.5                           # flag",
        'retain-bytes = "1GiB"                # flag',
        "retain-seconds = 3600                # environment",
        "segment-seconds = 90                 # flag",
    ]
    for text in ("never", "always"):
        assert f'sync = "{text}"'.ljust(36) + " # flag" in load_config({"sync": text}, {}).lines()


@pytest.mark.parametrize(
    ("value", "text"), [(ALWAYS, "always"), (NEVER, "never"), (1.0, "1"), (0.5, "0.5"), (0.001, "0.001")]
)
def test_a_sync_is_shown_as_it_is_written(value, text):
    assert show_sync(value) == text
    assert load_config({"sync": text}, {}).config.sync_seconds == value


def round_trip(config):
    """The configuration that somebody gets who uses its lines as a file."""
    lines = LoadedConfig(config, dict.fromkeys(FIELDS.values(), "default")).lines()
    content = tomllib.loads("\n".join(lines))
    return Config(
        **{
            each.name: setting.read(content[setting.option])
            for each, setting in settings()
            if setting.option in content
        }
    )


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
plain = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1)
seconds = st.sampled_from([0.0, 0.001, 0.5, 10.0, 3600.0, 86400.0])


@given(
    st.builds(
        Config,
        host=plain,
        port=st.integers(0, 65535),
        socket=st.none() | plain,
        max_message_bytes=st.integers(1, GIB) | st.sampled_from([KIB, MIB, GIB]),
        max_memory_bytes=st.integers(1, 1 << 50),
        retain_bytes=st.integers(0, 1 << 50) | st.sampled_from([0, KIB, MIB, GIB]),
        data_dir=st.none() | plain,
        sync_seconds=seconds | st.just(NEVER),
        limit_bytes=st.integers(0, 1 << 50),
        limit_seconds=seconds,
        segment_bytes=st.integers(KIB, 2 * GIB),
        segment_seconds=seconds.filter(lambda value: value >= 1),
        lease_seconds=seconds.filter(bool),
        max_attempts=st.integers(0, 1_000_000),
        partitions=st.integers(1, 1024),
        max_topics=st.integers(1, 1_000_000),
        max_groups=st.integers(1, 1_000_000),
        max_connections=st.integers(1, 10_000_000),
        grace_seconds=seconds,
        banner=st.booleans(),
        insecure=st.booleans(),
        log_level=st.sampled_from(["debug", "info", "warning", "error"]),
        log_json=st.booleans(),
    )
)
def test_lines_can_be_used_as_a_file(config):
    assert round_trip(config) == config


@given(st.floats(0, 1e9, exclude_max=True))
def test_lines_show_any_time_exactly(number):
    config = Config(grace_seconds=number)
    assert round_trip(config) == config


@given(texts)
def test_lines_show_any_text_exactly(text):
    config = Config(socket=text)
    assert round_trip(config) == config


def test_a_value_cannot_forge_a_line():
    loaded = LoadedConfig(Config(host='a"\nport = 1 # '), dict.fromkeys(FIELDS.values(), "default"))
    assert [line for line in loaded.lines() if "\n" in line] == []

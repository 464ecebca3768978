import sys
from pathlib import Path
from time import perf_counter

import pytest
import yaml

from vaelab.config.location import config_dir
from vaelab.config.redacted_output import print_redacted, redacted_output
from vaelab.errors import ConfigError
from vaelab.metrics import METRICS
from vaelab.secrets import HIDDEN, names_secret, redact, redact_override, redact_text

COMMIT = "3a95036aa0123456789abcdef0123456789abcde"
ASSIGNED = [
    "logger.mlflow.token=hunter2",
    "+logger.wandb.api_key=hunter2",
    "wandb_api_key=hunter2",
    "a.apikey=hunter2 b=1",
    "x.secret_access_key=hunter2",
    "python train.py 'x.password=a hunter2'",
    "python train.py '+token=a hunter2' seed=1",
    "x.token='a hunter2' seed=1",
    'x.token="a hunter2"',
    "PASSWORD=hunter2",
    "token: hunter2",
    '{"token": "hunter2"}',
    "{'api_key': 'hunter2', 'b': 1}",
    "+x={token: hunter2, b: 2}",
    "x.token=[a, hunter2]",
    "x.token: |\n  a\n  hunter2\n",
    "logger:\n  password: correct horse hunter2\n",
    "apiKey=hunter2",
    "accessToken: hunter2",
    "client_secret=hunter2",
    "AccountName=x;AccountKey=hunter2;EndpointSuffix=core",
    "export HF_TOKEN=hunter2; python train.py",
    "os.environ['HF_TOKEN'] = 'hunter2'",
    "tags=['token: hunter2',b]",
    "my_api_keys=[a,hunter2]",
    "db_pass=hunter2",
    "cookie: a=hunter2; b=3",
    "x-api-key: hunter2",
    "Authorization: Bearer hunter2",
    "Authorization: hunter2",
    "curl -H 'Authorization: Bearer hunter2' http://host",
    "session_id=hunter2",
    "sessionid: hunter2",
    "creds=hunter2",
    "otp=hunter2",
    r"{\"token\":\"hunter2\", \"b\": 1}",
    r"token\=hunter2",
    "https://host/#token%3Dhunter2",
    "Proxy-Authorization: Digest username=me, response=hunter2",
]
SAID = [
    "password is hunter2",
    "the password is hunter2, do not lose it",
    "api_key hunter2",
    "API key hunter2",
    "my token is hunter2",
    "token hunter2",
    "the token of the server: hunter2",
    "curl -u me:hunter2 http://host",
    "x --token hunter2",
    "x --password 'a hunter2'",
    "Bearer hunter2",
    "sshpass -p hunter2 ssh me@host",
    "mysql -u me -phunter2 db",
]
UNSURE = ["PASS=%s", "pass: %s", "tokens=%s", "MY_SECRET_VALUE=%s", "token: needs %s", "token: is %s", "token: null %s"]
IN_A_URL = [
    "http://user:hunter2@host/",
    "uri=https://user:a@hunter2@host:80/x",
    "postgres://me:a/hunter2@host/db",
    "rsync me:hunter2@host:/x",
    "https://host/?x=1&token=hunter2",
    "https://host/x.csv?sv=1&sig=hunter2&se=1",
    "https://host/x?X-Amz-Signature=hunter2&X-Amz-Credential=hunter2",
    "postgresql+psycopg://user:hunter2@host/db",
    "https://hooks.slack.com/services/T0/B0/hunter2",
]
FORMS = [
    "AKIAIOSFODNN7EXAMPLE",
    "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    "github_pat_11ABCDEFG0abcdefghijkl_abcdefghijklmnop",
    "0123456789abcdef0123456789abcdef01234567",
    "local-0123456789abcdef0123456789abcdef01234567",
    "hf_abcdefghijklmnopqrstuvwxyzABCDEFGH",
    "sk-proj-abcDEF123456789012345678901234567890",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIabc\n-----END RSA PRIVATE KEY-----",
    "xoxb-123456789012-abcdefABCDEF",
    "glpat-abcdefghij0123456789",
    "dapi0123456789abcdef0123456789abcdef",
]
HARMLESS = [
    "data.max_tokens=3",
    "tokenizer=x",
    "monkey=3",
    "seed=1",
    "data.path=a@b",
    "sqlite:///runs.db",
    "x.token=",
    "x.token=null",
    "x.token=${oc.env:HF_TOKEN}",
    "token_accuracy=0.3",
    "tokens=characters",
    "tokens: resnet50",
    "pass: second",
    "data.path=sk-2024-experiment-01.csv",
    "data.drop=[sk-learn-features-number-1]",
    "token accuracy 0.93",
    "nats_per_token: 3.2",
    "decoder.pad_token=0",
    "task.topk=3",
    "sort_key=3",
    "author=me",
    "second pass: 3",
    f"commit {COMMIT}",
    f'{{"commit": "{COMMIT}"}}',
    f"data.revision={COMMIT}",
    f"https://host/a/tree/{COMMIT}/x",
    f"fingerprint: {COMMIT}",
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "git@github.com:a/b.git",
    "http://localhost:5000/a@b",
    "image:tag@sha256:abc",
    "corruption@corruption.first=mask",
    "logger.wandb.token: needs a value",
    "the api key is missing",
    "the secret of good models",
    "password protected data",
    "risk-averse-strategy-123456789",
    "/home/Me/Projects/vaelab/logs/generation/digits-vae/2026-11-28_14-31-24",
    "wandb sync logs/x/wandb/offline-run-20261128_143124-shpoy280",
]


@pytest.mark.parametrize("text", [*ASSIGNED, *SAID, *IN_A_URL])
def test_a_secret_in_text_is_hidden(text: str) -> None:
    hidden = redact_text(text)
    assert "hunter2" not in hidden
    assert HIDDEN in hidden
    assert redact_text(hidden) == hidden


@pytest.mark.parametrize("text", UNSURE)
def test_only_what_looks_random_is_hidden_behind_a_name_of_many_things(text: str) -> None:
    secret = text % "s3cr3tVal9"
    assert redact_text(secret) == redact_override(secret) == text % HIDDEN == redact_text(text % HIDDEN)
    assert redact_text(text % "resnet50") == text % "resnet50"


@pytest.mark.parametrize("word", ["data.normal=['password: weak']", "data.label='cookie: yes'", "data.drop=[token: x]"])
def test_names_in_somebodys_data_are_no_secrets(word: str) -> None:
    """A hidden word would have to be typed again when the run goes on."""
    assert redact_override(word) == word
    key, _, value = word.removeprefix("data.").partition("=")
    assert redact({"data": {key: [value]}}) == {"data": {key: [value]}}
    assert redact({"tags": [value]}) != {"tags": [value]}


@pytest.mark.parametrize(
    "word",
    ["data.path=https://host/x?token=hunter", "data.path=http://u:hunter@host/x", "data.normal=['password: hunter22']",
     "data.token=hunter", "data.label=ghp_16C7e42F292c6912E7710c838347hunter", "data.path=x?sig=hunter"],
)  # fmt: skip
def test_secrets_in_the_place_of_data_are_hidden(word: str) -> None:
    assert "hunter" not in redact_override(word)
    key, _, value = word.removeprefix("data.").partition("=")
    assert "hunter" not in str(redact({"data": {key: value}}))


@pytest.mark.parametrize("secret", FORMS)
def test_a_secret_is_known_by_its_form_wherever_it_stands(secret: str) -> None:
    for text in (
        secret,
        f"trained with {secret}.",
        f"tags=[{secret},b]",
        f"'{secret}'",
        f"note={secret}",
        f"x: {secret}",
    ):
        hidden = redact_text(text)
        assert secret not in hidden
        assert redact_text(hidden) == hidden


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact_text(text) == text


def test_what_the_environment_calls_a_secret_is_hidden_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SERVICE_PASSWORD", "tr0ub4dor")
    monkeypatch.setenv("MY_SHORT_TOKEN", "abc")
    monkeypatch.setenv("MY_NUMBER_TOKEN", "1234567")
    assert redact_text("run for tr0ub4dor, abc and 1234567") == f"run for {HIDDEN}, abc and 1234567"
    assert redact_text("tr0ub4dors") == "tr0ub4dors"


def test_secrets_in_a_config_are_hidden_wherever_they_stand() -> None:
    config = {
        "logger": {"api_key": "hunter2", "password": 12345, "token": None, "uri": "http://u:hunter2@h"},
        "credentials": {"user": "u", "pass": "hunter2"},
        "list": ["x.token=a hunter2", {"secret": ["hunter2"]}],
        "http://u:hunter2@h": 1,
        "git": {"commit": COMMIT, "key": COMMIT},
        "latent_dim": 3,
        "use_auth": True,
    }
    assert redact(config) == {
        "logger": {"api_key": HIDDEN, "password": HIDDEN, "token": None, "uri": f"http://{HIDDEN}@h"},
        "credentials": HIDDEN,
        "list": [f"x.token={HIDDEN}", {"secret": HIDDEN}],
        f"http://{HIDDEN}@h": 1,
        "git": {"commit": COMMIT, "key": HIDDEN},
        "latent_dim": 3,
        "use_auth": True,
    }


def test_all_of_an_override_is_hidden_whose_key_names_a_secret() -> None:
    assert redact_override("+x.token=a hunter2") == f"+x.token={HIDDEN}"
    assert redact_override(r"x.token=\{a: hunter2, b: c\}") == f"x.token={HIDDEN}"
    assert redact_override("x.token=${oc.env:HF_TOKEN}") == "x.token=${oc.env:HF_TOKEN}"
    assert redact_override("data.max_tokens=3") == "data.max_tokens=3"


def test_no_packaged_option_or_metric_is_taken_for_a_secret() -> None:
    for path in config_dir().rglob("*.yaml"):
        option = yaml.safe_load(path.read_text())
        assert redact(option) == option, path
    assert not any(map(names_secret, METRICS))


@pytest.mark.parametrize(
    "text",
    [
        "a" * 100_000,
        "A1b2/" * 20_000,
        "password " * 5_000,
        "token:'" * 5_000,
        "a.b@c:" * 9_000,
        "mysql " * 20_000,
        "sk-" + "a1-" * 30_000,
        "pass=" * 20_000,
        'token:\\"' * 9_000,
        "token: is " * 9_000,
    ],
)
def test_long_texts_take_time_in_proportion(text: str) -> None:
    began = perf_counter()
    redact_text(text)
    assert perf_counter() - began < 10  # hours if it grew with the square


def test_errors_hold_no_secret() -> None:
    assert str(ConfigError("logger.wandb.mode=http://u:hunter2@h: no")) == f"logger.wandb.mode=http://{HIDDEN}@h: no"


def test_nothing_that_is_printed_holds_a_secret(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    import logging

    printed = sys.stdout
    file = logging.FileHandler(tmp_path / "train.log")
    logger = logging.getLogger("a library")
    logger.propagate = False  # handlers that an earlier run left at the root write to streams that are closed
    logger.addHandler(file)
    with redacted_output():
        print("the token:", "hunter2", "in pieces", flush=True)
        print("no end of line, token=hunter2", end="")
        logger.warning("password=%s", "hunter2")
        try:
            raise ValueError("api_key=hunter2")
        except ValueError as error:
            logger.exception("it failed")
            print_redacted(type(error), error, error.__traceback__)
    file.close()
    logger.removeHandler(file)
    captured = capsys.readouterr()
    assert sys.stdout is printed
    assert f"the token: {HIDDEN} in pieces\nno end of line, token={HIDDEN}" in captured.out
    assert "ValueError" in captured.err
    assert "hunter2" not in captured.out + captured.err + (tmp_path / "train.log").read_text()

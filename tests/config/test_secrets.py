import pytest

from vaelab.config.secrets import HIDDEN, redact, redact_text


@pytest.mark.parametrize(
    "text",
    [
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
        "http://user:hunter2@host/",
        "uri=https://user:a@hunter2@host:80/x",
        "https://host/?x=1&token=hunter2",
        "postgresql+psycopg://user:hunter2@host/db",
    ],
)
def test_a_secret_in_text_is_hidden(text: str) -> None:
    hidden = redact_text(text)
    assert "hunter2" not in hidden
    assert HIDDEN in hidden
    assert redact_text(hidden) == hidden


@pytest.mark.parametrize(
    "text", ["data.max_tokens=3", "tokenizer=x", "monkey=3", "seed=1", "data.path=a@b", "sqlite:///runs.db", "x.token="]
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact_text(text) == text


def test_secrets_in_a_config_are_hidden_wherever_they_stand() -> None:
    config = {
        "logger": {"api_key": "hunter2", "password": 12345, "token": None, "uri": "http://u:hunter2@h"},
        "credentials": {"user": "u", "pass": "hunter2"},
        "list": ["x.token=hunter2", {"secret": ["hunter2"]}],
        "latent_dim": 3,
    }
    assert redact(config) == {
        "logger": {"api_key": HIDDEN, "password": HIDDEN, "token": None, "uri": f"http://{HIDDEN}@h"},
        "credentials": HIDDEN,
        "list": [f"x.token={HIDDEN}", {"secret": HIDDEN}],
        "latent_dim": 3,
    }

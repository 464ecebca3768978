"""A run's config is composed again from its folder, of which nothing is taken that could do any harm."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from vaelab.config.command_line import parts
from vaelab.config.continuation import Continuation, compose_again
from vaelab.config.location import config_dir
from vaelab.config.recorded import LARGEST, parse_word, written
from vaelab.errors import CheckpointError, ConfigError


@cache
def composed(*words: str) -> DictConfig:
    """With Hydra's own under `hydra`; not to be changed."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        return compose("train", list(words), return_hydra_config=True)


def plain(config: DictConfig) -> dict[str, Any]:
    """About as a run records it; what only a run knows is left as it is."""
    found: dict[str, Any] = OmegaConf.to_container(config, resolve=False)  # type: ignore[assignment]
    del found["hydra"]
    return found


class Folder:
    """The record of a run, as `RunRecord` writes it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "checkpoints").mkdir()
        (path / "checkpoints/last.ckpt").touch()

    def write(self, words: list[str], changes: dict[str, Any] | None = None, choices: bool = True) -> None:
        """What a run of these words leaves, with some values as they were when it was made."""
        config = composed(*words)
        options = {group: option for group, option in config.hydra.runtime.choices.items() if option}
        recorded = plain(config)
        for key, value in (changes or {}).items():
            node, names = recorded, key.split(".")
            for name in names[:-1]:
                node = node[name]
            node[names[-1]] = value
        (self.path / "overrides.yaml").write_text(yaml.safe_dump(words))
        (self.path / "config.yaml").write_text(yaml.safe_dump(recorded))
        if choices:
            (self.path / "choices.yaml").write_text(yaml.safe_dump(options))

    def resume(self, *words: str) -> Continuation:
        found = compose_again([f"resume={self.path}", *words])
        assert found is not None
        return found

    def evaluate(self, *words: str) -> Continuation:
        found = compose_again(["train=false", f"ckpt_path={self.path}", *words])
        assert found is not None
        return found

    def refusal(self, *words: str) -> str:
        with pytest.raises(CheckpointError) as refused:
            self.resume(*words)
        return str(refused.value)


@pytest.fixture
def run(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def config_of(continued: Continuation) -> DictConfig:
    return composed(*(word for word in parts(continued.arguments)[1] if not word.startswith("hydra.")))


@pytest.mark.parametrize(
    "given", [[], ["seed=1"], ["resume=null"], ["resume="], ["train=false"], ["train=false", "ckpt_path=no.ckpt"]]
)
def test_without_a_run_nothing_is_composed(given: list[str]) -> None:
    assert compose_again(given) is None


def test_what_was_typed_comes_back_and_new_words_win(run: Folder) -> None:
    run.write(["model=ae", "seed=3", "optimizer.lr=0.1", "data.batch_size=7"])
    config = config_of(run.resume("optimizer.lr=0.2"))
    assert config.model._target_ == "vaelab.models.AE"
    assert (config.seed, config.optimizer.lr, config.data.batch_size) == (3, 0.2, 7)


def test_the_words_that_were_typed_are_told_from_those_that_were_added(run: Folder) -> None:
    run.write(["model=ae", "seed=3"], {"latent_dim": 5})
    continued = run.resume("optimizer.lr=0.2")
    assert continued.typed(continued.arguments) == [
        "model=ae", "seed=3", f"resume={run.path}", "optimizer.lr=0.2", "hydra.mode=RUN",
    ]  # fmt: skip


def test_defaults_that_changed_since_do_not_change_the_run(run: Folder) -> None:
    run.write(["model=beta_vae"], {"model.beta": 9.0, "latent_dim": 5, "data.split_seed": 8, "encoder.hidden": [3]})
    config = config_of(run.evaluate())
    assert (config.model.beta, config.latent_dim, config.data.split_seed) == (9.0, 5, 8)
    assert config.encoder.hidden == [3]


def test_options_that_are_no_longer_the_default_stay_those_of_the_run(run: Folder) -> None:
    run.write(["data=digits", "encoder=conv"])
    choices = yaml.safe_load((run.path / "choices.yaml").read_text())
    (run.path / "choices.yaml").write_text(yaml.safe_dump(choices | {"scheduler": "cosine", "task": "compression"}))
    config = config_of(run.evaluate())
    assert config.scheduler._target_.endswith("Cosine")
    assert config.decoder._target_.endswith("ConvDecoder")


def test_a_run_of_before_there_were_shortcuts_has_none(run: Folder) -> None:
    run.write(["data=table", "data.path=a.csv"])
    for name in ("choices.yaml", "config.yaml"):
        about = yaml.safe_load((run.path / name).read_text())
        del about["shortcut"]
        (run.path / name).write_text(yaml.safe_dump(about))
    assert composed("data=table").shortcut._target_  # which data of one's own have by now
    assert not config_of(run.evaluate()).shortcut


def test_a_run_without_a_record_of_its_options_comes_back_from_its_words(run: Folder) -> None:
    run.write(["model=annealed_vae", "model/schedule=cyclical", "encoder=conv", "task=compression"], choices=False)
    before = plain(composed("model=annealed_vae", "model/schedule=cyclical", "encoder=conv", "task=compression"))
    after = plain(config_of(run.evaluate()))
    assert after | {"train": True, "ckpt_path": None} == before


def test_parts_of_an_option_come_back(run: Folder) -> None:
    words = ["task=denoising", "corruption=chain", "corruption@corruption.parts.first=blur"]
    run.write([*words, "corruption.parts.first.sigma=2"])
    config = config_of(run.evaluate())
    assert config.corruption.parts.first._target_.endswith("Blur")
    assert config.corruption.parts.first.sigma == 2


def test_a_group_that_is_typed_brings_its_own_values(run: Folder) -> None:
    run.write(["task=generation", "task.nll_samples=7", "optimizer.lr=0.1"])
    config = config_of(run.evaluate("task=compression"))
    assert config.task._target_.endswith("Compression")
    assert "nll_samples" not in config.task
    assert config.optimizer.lr == 0.1
    same = config_of(run.evaluate("task=generation"))  # as the run has it
    assert same.task.nll_samples == 7


def test_other_data_leave_all_else_to_the_run(run: Folder) -> None:
    run.write(["data=digits", "latent_dim=4"])
    config = config_of(run.evaluate("data=mnist"))
    assert config.data.name == "mnist"
    assert config.likelihood._target_.endswith("DiscretizedLogistic")  # mnist by itself would choose another
    assert (config.latent_dim, config.budget.epochs) == (4, 100)


def test_an_evaluation_decides_for_itself_what_it_does(run: Folder) -> None:
    run.write(["test=false", "ckpt_path=before.ckpt"])
    config = config_of(run.evaluate())
    assert (config.train, config.test, config.ckpt_path) == (False, True, str(run.path))


def test_a_debug_option_takes_effect(run: Folder) -> None:
    run.write(["trainer.max_epochs=9"])
    config = config_of(run.evaluate("debug=limit"))
    assert config.trainer.limit_test_batches == 2


def test_a_drawn_seed_stays(run: Folder) -> None:
    run.write(["seed=null"], {"seed": 123})
    assert config_of(run.resume()).seed == 123
    run.write(["seed=null"])
    (run.path / "environment.json").write_text('{"seed": 124}')
    assert config_of(run.resume()).seed == 124


def test_a_seed_that_is_drawn_again_is_the_one_that_the_run_drew(run: Folder) -> None:
    run.write(["seed=null"], {"seed": 123, "data.seed": 123})
    config = config_of(run.resume("seed=null", "data.batch_size=7"))
    assert (config.seed, config.data.batch_size) == (123, 7)


def test_a_run_may_have_a_number_for_a_name(run: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    run.write(["latent_dim=4"])
    run.path.rename(run.path.parent / "0")
    run.path.parent.joinpath("1e3").symlink_to("0")
    monkeypatch.chdir(run.path.parent)
    for name in ("0", "1e3"):
        for words in ([f"resume={name}"], ["train=false", f"ckpt_path={name}"]):
            found = compose_again(words)
            assert found is not None
            config = config_of(found)
            assert name in (config.resume, config.ckpt_path)
            assert config.latent_dim == 4


def test_a_job_of_a_sweep_goes_on_alone(run: Folder) -> None:
    run.write(["experiment=rate_distortion", "latent_dim=4", "model.beta=0.2"])
    assert run.resume().arguments[-1] == "hydra.mode=RUN"
    with pytest.raises(ConfigError, match="defines a sweep"):
        run.evaluate("-m", "task=compression,generation")


def test_a_sweep_evaluates_under_several_tasks(run: Folder) -> None:
    run.write(["latent_dim=4"])
    arguments = run.evaluate("-m", "task=compression,generation").arguments
    assert arguments[0] == "-m"
    assert "task=compression,generation" in arguments
    assert not [word for word in arguments if word.startswith(("task.", "hydra."))]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--multirun"], "--multirun"),
        (["ckpt_path=x"], "give one of them"),
        (["train=false"], "train=false ckpt_path="),
    ],
)
def test_contradictions_are_refused(run: Folder, words: list[str], named: str) -> None:
    run.write([])
    with pytest.raises((ConfigError, CheckpointError), match=named):
        run.resume(*words)


def test_runs_are_evaluated_one_by_one(run: Folder) -> None:
    with pytest.raises(ConfigError, match="one run at a time"):
        compose_again(["-m", "train=false", f"ckpt_path={run.path},{run.path}"])


# Nothing runs from a file

EVIL = [
    "+hydra.callbacks.x={_target_:torch.hub.load,repo_or_dir:/evil,model:x,source:local}",
    "hydra.callbacks.x={_target_:os.system}",
    "hydra/launcher=evil",
    "hydra/callbacks=evil",
    "hydra=evil",
    "hydra.run.dir=/evil",
    "hydra.output_subdir=/evil",
    "hydra.searchpath=[file:///evil]",
    "trusted=[subprocess]",
    "model._target_=torch.hub.load",
    "+callbacks.x._target_=lightning.pytorch.callbacks.LambdaCallback",
    "++callbacks.best._target_=os.system",
    "~callbacks",
    "callbacks.best.dirpath=/evil",
    "callbacks.best.dirpath=evil",
    "callbacks.best.filename=../../evil",
    "callbacks.best.filename='{epoch:1500000000d}'",
    "callbacks.last.output_dir=/evil",
    "trainer.default_root_dir=/evil",
    "paths.data_dir=/evil",
    "paths=evil",
    "data.data_dir=/evil",
    "task.inception=/evil.pt",
    "task.data_dir=evil",
    "logger.wandb.output_dir=/evil",
    "encoder={_target_:os.system}",
    "encoder.hidden=[16,{_target_:os.system}]",
    "encoder.hidden=${oc.env:HOME}",
    "encoder.hidden=[${oc.env:HOME}]",
    "latent_dim='${vaelab.run_dir:null,/evil}'",
    "experiment=../../evil",
    "experiment=/evil",
    "latent_dim=1,2",
    "latent_dim=range(1,3)",
    "latent_dim=choice(1,2)",
    "latent_dim=glob(*)",
    "model=[vae,{_target_:os.system}]",
    "model@hydra.callbacks=vae",
    "callbacks.kill.step=4",
]


def batches(words: Iterable[str]) -> list[list[str]]:
    """Lists in which no two words have one key: of those the last alone would count."""
    found: list[list[str]] = []
    for word in words:
        key = word.partition("=")[0].lstrip("+~")
        batch = next((b for b in found if key not in {w.partition("=")[0].lstrip("+~") for w in b}), None)
        if batch is None:
            found.append(batch := [])
        batch.append(word)
    return found


def bare(text: str) -> str:
    """Without the quotes of Hydra and of a shell."""
    return text.replace("'", "").replace('"', "")


@pytest.mark.parametrize("words", batches(EVIL))
@pytest.mark.parametrize("choices", [True, False], ids=["with options", "without"])
def test_planted_words_are_not_taken(run: Folder, words: list[str], choices: bool) -> None:
    run.write(["model=vae", "experiment=shakespeare", "latent_dim=5"], choices=choices)
    (run.path / "overrides.yaml").write_text(yaml.safe_dump(words))
    message = run.refusal()
    known = ("experiment=",) if choices else ()  # the option in force
    named = [word for word in words if "${" not in word and not word.startswith(known)]  # others have their value
    assert not [word for word in named if bare(word) not in bare(message)]
    assert "latent_dim" not in message or "latent_dim=" in str(words)


def test_planted_words_that_cannot_be_read_are_refused(run: Folder) -> None:
    run.write([])
    (run.path / "overrides.yaml").write_text(yaml.safe_dump(["model/../../evil=x"]))
    assert "overrides.yaml" in run.refusal()


PLANTED = {
    "model._target_": "os.system",
    "callbacks.best.dirpath": "/evil",
    "callbacks.best.filename": "../evil",
    "callbacks.best.mode": "{evil}",
    "paths.data_dir": "/evil",
    "trusted": ["evil"],
    "trainer.default_root_dir": "/evil",
    "encoder.hidden": [{"_target_": "evil"}],
    "decoder.hidden": {"_target_": "evil"},
    "optimizer.lr": "${oc.env:evil}",
    "task.inception": "/evil.pt",
    "hydra": {"run": {"dir": "/evil"}},
    "evil": 3,
}


def test_planted_values_are_not_taken(run: Folder) -> None:
    run.write(["latent_dim=5"], PLANTED)
    taken = str(run.resume().arguments)
    assert "evil" not in taken
    assert "os.system" not in taken


@pytest.mark.parametrize(
    ("group", "option"), [("experiment", "../../evil"), ("model/../..", "evil"), ("model", "/evil")]
)
def test_a_planted_option_is_refused(run: Folder, group: str, option: str) -> None:
    run.write([])
    (run.path / "choices.yaml").write_text(yaml.safe_dump({group: option}))
    assert "choices.yaml" in run.refusal()


@pytest.mark.parametrize(
    "choices", [{"hydra/launcher": "evil"}, {"hydra": "evil"}, {"local": "evil"}, {"model@hydra.callbacks": "evil"}]
)
def test_options_of_hydra_are_left_alone(run: Folder, choices: dict[str, str]) -> None:
    run.write([])
    (run.path / "choices.yaml").write_text(yaml.safe_dump(choices))
    assert "evil" not in str(run.resume().arguments)


def test_one_message_names_all_that_must_be_typed_again(run: Folder) -> None:
    run.write([])
    untaken = ["trusted=[mine]", "+trainer.benchmark=true", "logger.x.token=<hidden>", "paths.data_dir=/data"]
    (run.path / "overrides.yaml").write_text(yaml.safe_dump(["latent_dim=5", "paths.log_dir=/logs", *untaken]))
    message = run.refusal()
    assert all(word.split("=")[0] in message for word in untaken)
    assert "log_dir" not in message
    assert "latent_dim" not in message
    assert "trusted=" not in run.refusal("trusted=[]")
    again = ["trusted=[mine]", "+trainer.benchmark=true", "+logger.x.token=a", "paths.data_dir=/data"]
    assert run.resume(*again).arguments[-5:-1] == again


def test_where_the_run_was_written_is_neither_asked_for_nor_taken(run: Folder) -> None:
    """It goes on in the folder that is named, wherever that has come from; an evaluation has a folder of its own."""
    run.write(["latent_dim=5"])
    (run.path / "overrides.yaml").write_text(yaml.safe_dump(["paths.output_dir=/evil", "paths.log_dir=/evil"]))
    for continued in (run.resume(), run.evaluate()):
        assert not [word for word in continued.arguments if "/evil" in word]


def test_what_the_run_has_anyway_need_not_be_typed_again(run: Folder) -> None:
    run.write(["encoder={hidden:[16]}", "decoder.hidden=${encoder.hidden}"], {"decoder.hidden": [16]})
    config = config_of(run.resume())
    assert config.encoder.hidden == config.decoder.hidden == [16]


def test_what_was_added_may_be_declined(run: Folder) -> None:
    run.write([])
    added = ["+callbacks.kill._target_=mine.Kill", "+callbacks.kill.step=3"]
    (run.path / "overrides.yaml").write_text(yaml.safe_dump(added))
    for word in ("callbacks.kill=null", "~callbacks.kill"):
        assert "kill" not in str(run.resume(word).arguments)
    assert "+callbacks.kill=null" in run.resume("+callbacks.kill=null").arguments


def test_an_option_of_ones_own_needs_its_folder_again(run: Folder, tmp_path: Path) -> None:
    run.write([])
    choices = yaml.safe_load((run.path / "choices.yaml").read_text()) | {"encoder": "mine", "decoder": "mlp"}
    (run.path / "choices.yaml").write_text(yaml.safe_dump(choices))
    assert "--config-dir" in run.refusal()
    (tmp_path / "conf/encoder").mkdir(parents=True)
    own = "_target_: vaelab.backbones.MLPEncoder\nhidden: [3]\nactivation: relu\n"
    (tmp_path / "conf/encoder/mine.yaml").write_text(own)
    assert "encoder=mine" in run.resume("--config-dir", str(tmp_path / "conf")).arguments
    assert "encoder=mine" in run.resume(f"--config-dir={tmp_path / 'conf'}").arguments


REACH = ["logger.wandb.entity=evil", "logger.wandb.project=evil", "logger.wandb.mode=online", "trainer.devices=8",
         "trainer.num_nodes=3", "trainer.strategy=ddp_spawn", "trainer.profiler=pytorch"]  # fmt: skip


@pytest.mark.parametrize("typed", [True, False], ids=["in its words", "in its config"])
def test_a_run_folder_decides_neither_whom_a_tracker_sends_to_nor_how_many_processes_start(
    run: Folder, typed: bool
) -> None:
    run.write([], {key: yaml.safe_load(value) for key, value in (word.split("=") for word in REACH)})
    if typed:
        (run.path / "overrides.yaml").write_text(yaml.safe_dump(REACH))
    message = run.refusal().replace("'", "")
    assert [message.count(word) for word in REACH] == [1] * len(REACH)  # to be copied
    mine = [word.partition("=")[0] + "=null" for word in REACH]
    assert "evil" not in str(run.resume(*mine).arguments)
    with pytest.raises(CheckpointError, match="project=") as refused:
        run.evaluate()
    assert "trainer" not in str(refused.value)  # an evaluation begins as its user starts it


def test_what_the_users_own_config_gives_need_not_be_typed_again(run: Folder, tmp_path: Path) -> None:
    (tmp_path / "conf/local").mkdir(parents=True)
    (tmp_path / "conf/local/default.yaml").write_text(
        "# @package _global_\nlogger:\n  wandb:\n    project: mine\ntrainer:\n  devices: 2\n"
    )
    run.write(["trainer=ddp", "logger.wandb.project=mine"], {"trainer.devices": 2})
    assert "project" in run.refusal()
    assert run.resume(f"--config-dir={tmp_path / 'conf'}").kind == "resume"
    run.write(["trainer=ddp", "logger.wandb.group=a", "trainer.accelerator=cpu"])
    assert run.resume().kind == "resume"
    run.write(["debug=profiler"])
    assert run.resume().kind == "resume"


@pytest.mark.parametrize("place", ["figures", "metrics.csv", "checkpoints/best.ckpt"])
def test_nothing_is_written_through_a_link_out_of_the_run_folder(
    run: Folder, tmp_path_factory: Any, place: str
) -> None:
    run.write([])
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (run.path / place).symlink_to(elsewhere)
    assert f"{run.path / place}: is a link" in run.refusal()
    assert run.evaluate().kind == "evaluation"  # which writes into a folder of its own


def test_links_within_a_run_folder_and_to_it_are_followed(run: Folder, tmp_path_factory: Any) -> None:
    run.write([])
    (run.path / "wandb").mkdir()
    (run.path / "wandb/latest-run").symlink_to(run.path / "wandb")
    link = tmp_path_factory.mktemp("links") / "run"
    link.symlink_to(run.path)
    run.path = link
    assert run.resume().kind == "resume"


EVIL_TEXT = "\x1b[31mRED\nerror: all is well\r\x9b\u202e"


def test_a_message_that_quotes_a_file_is_one_line_that_no_terminal_obeys(run: Folder) -> None:
    run.write([])
    (run.path / "overrides.yaml").write_text(yaml.safe_dump([f"+evil='{EVIL_TEXT}'"]))
    messages = [run.refusal()]
    for choices in ({"model": EVIL_TEXT}, {EVIL_TEXT: "vae"}):
        run.write([])
        (run.path / "choices.yaml").write_text(yaml.safe_dump(choices))
        messages.append(run.refusal())
    for message in messages:
        assert message.isprintable()
        assert r"\x1b[31mRED" in message


def bomb(levels: int = 20) -> str:
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("overrides.yaml", "[a, b"),
        ("overrides.yaml", "a: 1\n"),
        ("config.yaml", "a: [b"),
        ("config.yaml", "- a\n"),
        ("choices.yaml", "a: 1\n"),
        ("config.yaml", "a: !!python/object/apply:os.system [x]\n"),
        ("config.yaml", bomb()),
        ("choices.yaml", "[" * 2000),
        ("overrides.yaml", "x" * (LARGEST + 1)),
    ],
    ids=["cut", "no list", "cut within", "no dict", "no words", "code", "bomb", "deep", "large"],
)
def test_a_broken_record_is_named(run: Folder, name: str, text: str) -> None:
    run.write([])
    (run.path / name).write_text(text)
    assert name in run.refusal()


@pytest.mark.parametrize("words", [["--config-dir=/evil"], [3], {"a": 1}, ["latent_dim"], [""]])
def test_words_that_are_none_are_refused(run: Folder, words: Any) -> None:
    run.write([])
    (run.path / "overrides.yaml").write_text(yaml.safe_dump(words))
    assert "overrides.yaml" in run.refusal()


@pytest.mark.parametrize(
    "value",
    [0, -3, 1e-05, 2.5, True, False, None, "", "a b", "it's", "back\\slash", "\\", "a\\'b", "x,y", "[1]", "null", "3",
     "true", "a=b", '"quoted"', "{a:1}", "Zürich", [1, "a b", None, [True, "'"]], [], float("inf")],
)  # fmt: skip
def test_a_plain_value_is_read_as_it_is_written(value: Any) -> None:
    word = parse_word(written("key.part", value))
    assert word is not None
    assert not word.is_sweep_override()
    assert word.value() == value
    assert type(word.value()) is type(value)


def test_a_number_takes_the_place_of_the_effort_of_the_run(run: Folder) -> None:
    run.write(["effort=quick"], {"effort": "quick"})
    assert config_of(run.resume()).effort == "quick"
    longer = config_of(run.resume("trainer.max_epochs=100"))
    assert (longer.effort, longer.trainer.max_epochs) == ("normal", 100)
    typed = config_of(run.resume("trainer.max_steps=9", "effort=best"))
    assert typed.effort == "best"  # which the run then refuses, since both were typed

"""What a person types for a text setting arrives as it stands."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from gesture.config.compose import compose
from gesture.config.refusals import ConfigError
from gesture.config.schema import PredictConfig, TrainConfig
from gesture.config.words import as_hydra_reads, split_at_commas


def parsed(value: str) -> object:
    return OverridesParser.create().parse_override(f"key={value}").value()


def read(word: str, multirun: bool = False) -> object:
    [typed] = as_hydra_reads([word], TrainConfig, multirun)
    [override] = OverridesParser.create().parse_overrides([typed])
    if override.is_sweep_override():
        return [parsed(one) for one in override.sweep_string_iterator()]
    return override.value()


@pytest.mark.parametrize(
    "value",
    [
        r"(?P<subject>s\d+)_",
        "/data/a=b (1)",
        "My Photos/x#1.png",
        "logs/x/0_optimizer.lr=0.001",
        "~/images",
        r"C:\Users\me",
        "it's",
        "trailing\\",
        "007",
        "[a,b]",
        "a, b",
        "true",
        "{x:1}",
        "ünïcode 手",
    ],
)
def test_a_text_is_taken_as_it_stands(value: str) -> None:
    assert read(f"data.root={value}") == value


@given(
    st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1).filter(
        lambda text: text not in ("null", "???")
    )
)
def test_any_text_is_taken_as_it_stands(value: str) -> None:
    is_quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""  # in Hydra's own way
    if not is_quoted and value != "null":
        assert read(f"data.root={value}") == value


def test_hydras_own_quoting_still_works() -> None:
    assert read(r"data.pattern='(?P<subject>s\d+)_'") == r"(?P<subject>s\d+)_"
    assert read('data.root="a b"') == "a b"


def test_null_is_null() -> None:
    assert read("data.pattern=null") is None


def test_in_a_multirun_commas_outside_of_brackets_separate() -> None:
    assert read("data.root=/a=1,/b (2)", multirun=True) == ["/a=1", "/b (2)"]
    assert read(r"data.pattern=(?P<subject>s\d{1,2})_,x", multirun=True) == [r"(?P<subject>s\d{1,2})_", "x"]
    assert read("data.root=a,b", multirun=True) == ["a", "b"]
    assert read("data.root=choice(a,b)", multirun=True) == ["a", "b"]


def test_lists_of_texts_are_read_whether_hydra_could_or_not() -> None:
    assert read("data.exclude=[fist/1.png,my photos/x=1 (2).png]") == ["fist/1.png", "my photos/x=1 (2).png"]
    assert read("split.test_subjects=[9]") == [9]
    assert read("split.test_subjects=[0],[a b]", multirun=True) == [[0], ["a b"]]


def test_other_settings_keep_hydras_grammar() -> None:
    assert read("optimizer.lr=1e-3,1e-4", multirun=True) == [1e-3, 1e-4]
    assert as_hydra_reads(["backbone=resnet50", "~data"], TrainConfig) == ["backbone=resnet50", "~data"]


def test_the_texts_are_those_of_the_command() -> None:
    assert as_hydra_reads(["input=a b"], PredictConfig) == ["input='a b'"]
    assert as_hydra_reads(["hydra.run.dir=a b"], PredictConfig) == ["hydra.run.dir='a b'"]


def test_commas_in_quotes_and_brackets_do_not_separate() -> None:
    assert split_at_commas("a,(b,c),'d,e',[f,{g,h}]") == ["a", "(b,c)", "'d,e'", "[f,{g,h}]"]


def test_a_composed_configuration_has_the_text() -> None:
    config: TrainConfig = compose("train", ["data=folder", "data.root=/x/a=b (1)", r"data.pattern=(?P<subject>s\d+)_"])
    assert config.data.root == "/x/a=b (1)"


@pytest.mark.parametrize("words", ["seed=1 seed=2", "backbone=resnet18 backbone=resnet50", "optimizer=[adam,sgd]"])
def test_what_is_given_twice_is_refused(words: str) -> None:
    with pytest.raises(ConfigError, match=r"given twice|names several choices"):
        compose("train", words.split())


def test_several_loggers_may_be_given() -> None:
    config: TrainConfig = compose("train", ["logger=[tensorboard,wandb]"])
    assert (config.logger.tensorboard is not None, config.logger.wandb is not None) == (True, True)
    assert config.logger.mlflow is None

"""Signs on a command line that Hydra takes for its own."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import OverrideParseException

from vaelab.command_line.explain import explain


@pytest.mark.parametrize(
    ("typed", "instead"),
    [("data.decimal=,", "data.decimal=comma"), ("data.thousands=,", "data.thousands=comma"),
     ("data.delimiter=;", "data.delimiter=semicolon")],
)  # fmt: skip
def test_a_sign_is_typed_as_its_word(typed: str, instead: str) -> None:
    with pytest.raises(OverrideParseException) as refused:
        OverridesParser.create().parse_overrides([typed])
    assert explain(refused.value, [typed]) == f"{typed}: use the name instead of the character: {instead}"


def test_of_other_keys_the_parser_says_what_is_wrong() -> None:
    with pytest.raises(OverrideParseException) as refused:
        OverridesParser.create().parse_overrides(["latent_dim=,"])
    assert "cannot be read as key=value" in explain(refused.value, ["latent_dim=,"])

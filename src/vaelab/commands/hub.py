"""`vaelab push RUN owner/name` and `vaelab pull owner/name -o DIR`"""

import argparse
from pathlib import Path

from vaelab.commands.options import add_common, loaded, output_folder, parser
from vaelab.errors import ConfigError
from vaelab.notes import counted


def push(arguments: list[str]) -> None:
    """Share a model.

    Raises:
        UserError: there is no such model, or the hub cannot be reached or refuses.
    """
    made = parser(
        "push",
        "Uploads a model with a card to a repository of the Hugging Face hub, or writes a folder that is laid out as\n"
        "one. Only the files of model/ are shared: weights, and what prepares data. Of a table these are the names of\n"
        "columns, categories, and the range of numbers.",
        [
            ("logs/generation/digits-vae/<date> me/digits-vae --private", "to the hub"),
            ("logs/generation/digits-vae/<date> me/digits-vae -o shared/", "into a folder, without the network"),
        ],
    )
    made.add_argument("repository", metavar="OWNER/NAME", help="of the hub")
    made.add_argument("--private", action="store_true", help="visible to you alone, where the repository is new")
    made.add_argument("--license", metavar="NAME", help="for the card, such as mit or cc-by-4.0")
    add_common(made, "a folder to write in place of the upload", needed=False)
    options = made.parse_args(arguments)
    from vaelab.trained import hub

    folder = output_folder(options) if options.output else None
    if not hub.is_hub_id(options.repository):
        raise ConfigError(f"{options.repository}: is no name of a repository; owner/name is one")
    trained = loaded(options)
    if folder is not None:
        paths = hub.lay_out(trained, folder, options.repository, options.license)
        print(f"wrote {counted(len(paths), 'file')} to {folder}")
        return
    print(f"pushed to {hub.push(trained, options.repository, options.private, options.license)}")


def pull(arguments: list[str]) -> None:
    """Fetch a model.

    Raises:
        UserError: the hub cannot be reached, or has no such model.
    """
    made = argparse.ArgumentParser(
        "vaelab pull",
        description="Downloads a model from the Hugging Face hub. Other commands take a repository in the place of a\n"
        "run folder too: vaelab sample owner/name -o samples/",
        epilog="examples:\n  vaelab pull me/digits-vae -o digits-vae/                 the newest\n"
        "  vaelab pull me/digits-vae -o old/ --revision v1        of a branch, tag or commit",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("repository", metavar="OWNER/NAME", help="of the hub")
    made.add_argument("-o", "--output", required=True, metavar="PATH", help="the folder for the files")
    made.add_argument("--overwrite", action="store_true", help="write in the place of files that are there")
    made.add_argument("--revision", metavar="NAME", help="a branch, tag or commit; the newest")
    options = made.parse_args(arguments)
    from vaelab.trained import hub

    place = hub.pull(options.repository, output_folder(options), options.revision)
    print(f"pulled {options.repository} to {Path(options.output) if options.output else place}")

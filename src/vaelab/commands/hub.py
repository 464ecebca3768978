"""`vaelab push RUN owner/name` and `vaelab pull owner/name -o DIR`"""

import argparse
from pathlib import Path

from vaelab.commands.options import add_common, loaded, output_folder, parser
from vaelab.errors import ConfigError
from vaelab.notes import counted


def push(arguments: list[str]) -> None:
    """Upload a model to the hub, or write it as a folder.

    Raises:
        UserError: there is no such model, or the hub cannot be reached or refuses.
    """
    made = parser(
        "push",
        "Uploads a model with its model card to a repository of the Hugging Face hub, or writes the same files to\n"
        "a folder. Only the files of model/ are shared: the weights and the preprocessing of data. For a table, the\n"
        "preprocessing contains the names of columns, the categories, and the range of numbers.",
        [
            ("logs/generation/digits-vae/<date> me/digits-vae --private", "to the hub"),
            ("logs/generation/digits-vae/<date> me/digits-vae -o shared/", "into a folder, without the network"),
        ],
    )
    made.add_argument("repository", metavar="OWNER/NAME", help="a repository of the hub")
    made.add_argument("--private", action="store_true", help="make a new repository visible to you alone")
    made.add_argument("--license", metavar="NAME", help="license in the model card, such as mit or cc-by-4.0")
    add_common(made, "write to this folder instead of uploading", needed=False)
    options = made.parse_args(arguments)
    from vaelab.trained import hub

    folder = output_folder(options) if options.output else None
    if not hub.is_hub_id(options.repository):
        raise ConfigError(f"{options.repository}: is not the name of a repository; use the form owner/name")
    trained = loaded(options)
    if folder is not None:
        paths = hub.lay_out(trained, folder, options.repository, options.license)
        print(f"wrote {counted(len(paths), 'file')} to {folder}")
        return
    print(f"pushed to {hub.push(trained, options.repository, options.private, options.license)}")


def pull(arguments: list[str]) -> None:
    """Download a model from the hub.

    Raises:
        UserError: the hub cannot be reached, or has no such model.
    """
    made = argparse.ArgumentParser(
        "vaelab pull",
        description="Downloads a model from the Hugging Face hub. Other commands also accept a repository in place\n"
        "of a run folder: vaelab sample owner/name -o samples/",
        epilog="examples:\n  vaelab pull me/digits-vae -o digits-vae/         the newest commit\n"
        "  vaelab pull me/digits-vae -o old/ --revision v1  a branch, tag or commit",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("repository", metavar="OWNER/NAME", help="a repository of the hub")
    made.add_argument("-o", "--output", required=True, metavar="PATH", help="the folder to write to")
    made.add_argument("--overwrite", action="store_true", help="overwrite existing files")
    made.add_argument("--revision", metavar="NAME", help="a branch, tag or commit (default: the newest commit)")
    options = made.parse_args(arguments)
    from vaelab.trained import hub

    place = hub.pull(options.repository, output_folder(options), options.revision)
    print(f"pulled {options.repository} to {Path(options.output) if options.output else place}")

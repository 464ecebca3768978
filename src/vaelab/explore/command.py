"""`vaelab explore RUN [FILES...]`"""

from vaelab.commands.options import add_common, loaded, parser, read_settings
from vaelab.errors import ConfigError

MAX_PORT = 65_535


def explore(arguments: list[str]) -> None:
    """Serve a page for a trained model until Ctrl-C.

    Raises:
        UserError: there is no such model or file, Gradio is not installed, or the port is taken.
    """
    made = parser(
        "explore",
        "Opens a page in the browser for a trained model: sliders for its code, new samples, your own files with\n"
        "their scores, interpolations between two files, and a map of the named files. Only this machine can open\n"
        "the page, and it sends no data to other machines. Ctrl-C ends it.",
        [
            ("logs/generation/digits-vae/<date>", "sliders, samples, your files"),
            ("logs/anomaly/images-ae/<date> photos/", "also a map of the photos, and nearest neighbours"),
        ],
    )
    made.add_argument(
        "files", nargs="*", metavar="FILE",
        help="files or folders of files for the map and the neighbours; words such as data.encoding=latin-1 set how "
        "files are read",
    )  # fmt: skip
    made.add_argument("--port", type=int, default=0, metavar="N", help="port of the page (default: 0, any free port)")
    made.add_argument("--no-browser", action="store_true", help="print the address instead of opening a browser")
    add_common(made, None)
    options = made.parse_intermixed_args(arguments)
    if not 0 <= options.port <= MAX_PORT:
        raise ConfigError(f"--port {options.port}: should be from 0 to {MAX_PORT:,}")
    from vaelab.explore.package import gradio

    gradio()
    trained = loaded(options)
    paths = read_settings(trained, options.files)
    files = trained.adapter.find(paths) if paths else []
    from vaelab.explore.server import serve

    serve(trained, files, options.port, not options.no_browser)

"""`vaelab sample RUN -o DIR`"""

import csv
from io import StringIO

from vaelab.commands.options import a_count, add_common, loaded, output_folder, parser, progress, wrote

KINDS = {"image": "image", "table": "row", "series": "series", "roll": "piece"}


def sample(arguments: list[str]) -> None:
    """Draw new examples.

    Raises:
        UserError: there is no such model, label or prior, or the folder cannot be written.
    """
    made = parser(
        "sample",
        "Draws new examples and writes them as files of their kind: PNG files and a grid, rows as CSV and Parquet\n"
        "with the columns and types of the data, MIDI files with previews to hear, text, series as .npy and CSV.\n"
        "Of a model that is given labels, labels.csv says which label each sample was drawn for.",
        [
            ("logs/generation/digits-vae/<date> -n 64 -o samples/", "64 images and a grid of them"),
            ("logs/generation/table-vae/<date> -n 10000 -o rows/", "10,000 synthetic rows"),
        ],
    )
    made.add_argument("-n", "--count", type=a_count, default=64, metavar="N", help="how many; 64")
    made.add_argument("--temperature", type=float, default=1.0, metavar="T", help="below 1: more usual, less varied; 1")
    made.add_argument("--label", metavar="NAME", help="of a model that is given labels; all in turn unless named")
    made.add_argument(
        "--prior", choices=["own", "fitted"],
        help="the model's own prior, or the one that the run fitted to its codes; fitted where there is one",
    )  # fmt: skip
    add_common(made, "the folder for them", seeded=True)
    options = made.parse_args(arguments)
    folder = output_folder(options)
    trained = loaded(options)
    adapter = trained.adapter
    with progress("drawing", options.count) as done:
        values = trained.sampled(options.count, options.temperature, options.label, options.seed, options.prior, done)
    paths = adapter.write_samples(folder, values)
    labels = trained.sampled_labels(options.label, options.count)
    if labels is not None:
        from vaelab.atomic_write import write_file

        names = [trained.spec.classes[int(label)] for label in labels]
        rows = StringIO(newline="")
        csv.writer(rows, lineterminator="\n").writerows([("sample", "label"), *enumerate(names, 1)])
        write_file(folder / "labels.csv", rows.getvalue())
    kind = KINDS.get(trained.spec.kind, "text" if trained.reading and trained.reading.reader == "text" else "piece")
    wrote(options.count, kind, folder, "series" if kind == "series" else None, f" ({paths[0].name})")

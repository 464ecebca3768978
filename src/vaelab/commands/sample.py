"""`vaelab sample RUN -o DIR`"""

import csv
from io import StringIO

from vaelab.commands.options import a_count, add_common, loaded, output_folder, parser, progress, wrote

KINDS = {"image": "image", "table": "row", "series": "series", "roll": "piece"}


def sample(arguments: list[str]) -> None:
    """Draw new examples from a model, and write them.

    Raises:
        UserError: there is no such model, label or prior, or the folder cannot be written.
    """
    made = parser(
        "sample",
        "Draws new examples, and writes them in the format of the data: images as PNG files and a grid; rows as CSV\n"
        "and Parquet with the columns and types of the data; music as MIDI files with audio previews; text; series as\n"
        ".npy and CSV. For a model conditioned on labels, labels.csv lists the label of each sample.",
        [
            ("logs/generation/digits-vae/<date> -n 64 -o samples/", "64 images and a grid of them"),
            ("logs/generation/table-vae/<date> -n 10000 -o rows/", "10,000 synthetic rows"),
        ],
    )
    made.add_argument("-n", "--count", type=a_count, default=64, metavar="N", help="number of examples (default: 64)")
    made.add_argument(
        "--temperature",
        type=float,
        default=1.0,
        metavar="T",
        help="below 1, samples are more typical and less varied (default: 1)",
    )
    made.add_argument(
        "--label", metavar="NAME", help="draw for this label, if the model takes labels (default: each in turn)"
    )
    made.add_argument(
        "--prior", choices=["own", "fitted"],
        help="the model's own prior, or the prior that the run fitted to its codes (default: fitted, if there is one)",
    )  # fmt: skip
    add_common(made, "the folder for the samples", seeded=True)
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

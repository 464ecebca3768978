"""`vaelab classify RUN FILES -o classes.csv`"""

from pathlib import Path

from vaelab.commands.codes import Rows, named
from vaelab.commands.options import add_common, add_files, find, loaded, output_file, parser, progress
from vaelab.errors import DataError
from vaelab.notes import counted


def classify(arguments: list[str]) -> None:
    """Write the class of each example, and the probability of each class.

    Raises:
        UserError: there is no such model or file, one cannot be used, or the model infers no labels.
    """
    made = parser(
        "classify",
        "Classifies every example in the files with a model that infers labels (model=m2). Each row has the most\n"
        "likely class, its probability, and the probability of every class. Labels in the files are not\n"
        "used.",
        [
            ("logs/generation/images-m2/<date> photos/ -o classes.csv", "images"),
            ("logs/generation/table-m2/<date> later.csv -o classes.csv", "the rows of a table"),
        ],
    )
    add_files(made)
    add_common(made, "the file for the classes: .csv or .parquet")
    options = made.parse_intermixed_args(arguments)
    path = output_file(options, (".csv", ".parquet"))
    trained = loaded(options)
    trained.check_infers_label()
    files = find(trained, options.files)
    with Rows(path, {"run": str(Path(options.run))}) as rows, progress("classifying", None) as done:
        for part in trained.adapter.read(files):
            rows.add(named(part, len(files)), trained.classified(part, done))
        if not rows.count:
            raise DataError("no file is usable, so nothing is written")
    print(f"wrote the {'class' if rows.count == 1 else 'classes'} of {counted(rows.count, 'example')} to {path}")

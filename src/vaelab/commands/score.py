"""`vaelab score RUN FILES -o scores.csv`"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaelab.commands.codes import Rows, named
from vaelab.commands.options import (
    add_common,
    add_files,
    an_output_folder,
    find,
    loaded,
    output_file,
    parser,
    progress,
)
from vaelab.errors import ConfigError, DataError
from vaelab.notes import counted, note

SCORED_AGAIN, LEAST = 30_000, 50  # copies of rows scored to explain alarms, one per column; fewest rows to explain

if TYPE_CHECKING:
    from vaelab.trained import Trained
    from vaelab.trained.adapter import Part


def score(arguments: list[str]) -> None:
    """Write the anomaly score of each example, whether it raises an alarm, and the cause.

    Raises:
        UserError: there is no such model or file, one cannot be used, or the run has no threshold for alarms.
    """
    made = parser(
        "score",
        "Scores every example in the files. Each row has the anomaly score, whether it exceeds the run's threshold,\n"
        "and its p-value: the probability that a normal example has a score at least as high. For tables, it names\n"
        "the columns that contribute most to the score; for images, --maps writes heat maps. The scores are computed\n"
        "as those in scores.csv of the run.",
        [
            ("logs/anomaly/table-vae/<date> later.csv -o scores.csv", "the rows of a table"),
            ("logs/anomaly/images-ae/<date> photos/ -o scores.csv --maps maps/", "images, with heat maps"),
        ],
    )
    add_files(made)
    made.add_argument("--score", metavar="NAME", help="a score other than that of the threshold; it has no alarm")
    made.add_argument(
        "--false-alarm-rate",
        type=float,
        metavar="RATE",
        help="rate of alarms among normal examples (default: that of the run)",
    )
    made.add_argument("--maps", metavar="DIR", help="a folder for heat maps of images")
    add_common(made, "the file for the scores: .csv or .parquet")
    options = made.parse_intermixed_args(arguments)
    path = output_file(options, (".csv", ".parquet"))
    maps = None if options.maps is None else an_output_folder(options.maps, "--maps", options.overwrite)
    trained = loaded(options)
    threshold = trained.scorer.at_rate(options.false_alarm_rate)
    name = trained.scorer.name(options.score)
    verdict = threshold is not None and name == threshold.score
    if options.false_alarm_rate is not None and not verdict:
        raise ConfigError(
            f"--false-alarm-rate: the run's threshold is for another score than {name}; omit one of the two options"
        )
    if options.maps and trained.spec.kind != "image":
        raise ConfigError(f"--maps: works on images only, but the model was trained on {trained.spec.kind} data")
    if threshold is None:
        note(f"the run was not trained with task=anomaly, so it has no threshold for alarms; the score is {name}")
    files = find(trained, options.files)
    alarms = 0
    with Rows(path, {"run": str(Path(options.run)), "score": name}) as rows, progress("scoring", None) as done:
        for part in trained.adapter.read(files):
            scores = trained.scored(part, name, done)
            found = _columns(trained, part, scores, name, threshold if verdict else None)
            if "alarm" in found:
                alarms += int(found["alarm"].sum())
            rows.add(named(part, len(files)), found)
            if maps is not None:
                _draw_maps(trained, part, maps)
        if not rows.count:
            raise DataError("no file is usable, so nothing is written")
    told = f", {counted(alarms, 'alarm')}" if verdict else ""
    drawn = f" and heat maps to {maps}" if maps is not None else ""
    print(f"wrote {counted(rows.count, 'score')} ({name}{told}) to {path}{drawn}")


def _columns(trained: "Trained", part: "Part", scores: Any, name: str, threshold: Any) -> Any:
    import pandas as pd

    if threshold is not None:
        found = trained.verdicts(scores, threshold).astype({"alarm": int})
    else:
        found = pd.DataFrame({"score": scores.numpy()})
    if trained.spec.kind == "table" and (name == "reconstruction" or trained.scorer.threshold is not None):
        highest = scores.nan_to_num(float("inf")).argsort(descending=True, stable=True)
        which = highest[: max(LEAST, SCORED_AGAIN // trained.spec.size)].sort().values
        found["because"] = pd.Series(trained.explained(part, name, which)["because"].to_numpy(), which.numpy())
    return found


def _draw_maps(trained: "Trained", part: "Part", folder: Path) -> None:
    """Write a heat map of each image, with its unusual regions in red."""
    import torch

    from vaelab.trained.images import save_map

    places = trained.places(part)
    pictures = torch.cat([batch.clean.cpu() for batch in part.batches(torch.device("cpu"))])
    origin, stems = part.origin
    for place, value, frame, stem in zip(places, pictures, origin.frames, stems, strict=True):
        save_map(value, place, frame, folder / f"{stem}.png")

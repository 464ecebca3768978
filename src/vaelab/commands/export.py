"""`vaelab export RUN --to onnx,torch -o DIR`"""

from typing import Any

from vaelab.commands.options import add_common, loaded, output_folder, parser
from vaelab.notes import counted, note


def export(arguments: list[str]) -> None:
    """Write encoder, decoder and score as programs that run without vaelab.

    Raises:
        UserError: there is no such model, a requested part cannot be exported, or a program differs from the model.
    """
    made = parser(
        "export",
        "Writes the encoder, the decoder and the anomaly score of a model as ONNX and torch.export programs, which\n"
        "run without vaelab. They take any number of examples, and scale the inputs themselves: pixels from 0 to 255,\n"
        "columns and channels in the units of the files. export.json describes inputs and outputs. Each file is read\n"
        "back and compared with the model. Images must be resized and texts tokenized before; an autoregressive\n"
        "decoder cannot be exported.",
        [
            ("logs/anomaly/images-ae/<date> -o exported/", "all parts of the model, in both formats"),
            ("logs/embedding/table-vae/<date> --to onnx --parts encoder -o exported/", "one program and export.json"),
        ],
    )
    made.add_argument(
        "--to", type=_words, default="onnx,torch", metavar="FORMATS", help="onnx, torch, or onnx,torch (the default)"
    )
    made.add_argument(
        "--parts", type=_words, metavar="PARTS",
        help="encoder, decoder, score, or several with commas (default: all that can be exported)",
    )  # fmt: skip
    made.add_argument("--score", metavar="NAME", help="a score other than that of the threshold; it has no alarm")
    add_common(made, "the folder for the programs")
    options = made.parse_args(arguments)
    folder = output_folder(options)
    trained = loaded(options)
    about = trained.export(folder, options.to, options.parts, options.score)
    for part, reason in about["not_exported"].items():
        note(f"{part}: is not exported; {reason}")
    programs: dict[str, Any] = about["programs"]
    files = [file for one in programs.values() for file in one["files"].values()]
    print(
        f"wrote {counted(len(files), 'program')} ({', '.join(files)}) to {folder}; "
        f"largest difference from the model {about['largest_difference']:.2g}"
    )


def _words(text: str) -> list[str]:
    """Split words at commas."""
    return [word.strip() for word in text.split(",") if word.strip()]

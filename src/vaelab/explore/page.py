"""The page: its tabs, and what happens on it."""

import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from functools import wraps
from html import escape
from io import StringIO
from math import floor, log10
from typing import Any

from torch import Tensor

from vaelab.errors import UserError
from vaelab.explore.explorer import Explorer, Slider
from vaelab.explore.package import gradio
from vaelab.notes import counted

MOST_SAMPLES = 64
ANY, NONE = "any", "none"
CSS = """
.gradio-container { width: 100% !important; max-width: 1200px !important; margin: 0 auto !important; }
.shown img { image-rendering: pixelated; width: 100%; max-height: 70vh; object-fit: contain; }
.pinned { position: sticky; top: 0; z-index: 2; align-self: flex-start; }
.small .grid-container { grid-template-columns: repeat(auto-fill, minmax(min(96px, 30%), 1fr)) !important; }
.wide .grid-container { grid-template-columns: repeat(auto-fill, minmax(min(280px, 100%), 1fr)) !important; }
.wide .thumbnail-lg { aspect-ratio: 2.2 !important; }
.small img { image-rendering: pixelated; }
#map img { cursor: crosshair; }
@media (max-width: 640px) { .pinned img { max-height: 34vh; object-fit: contain; } }
"""
Handler = Callable[..., Any]


def look(gr: Any) -> dict[str, Any]:
    """Theme and style, with the fonts of the system alone; for `launch`."""
    fonts = {
        "font": [gr.themes.Font(name) for name in ("system-ui", "sans-serif")],
        "font_mono": [gr.themes.Font(name) for name in ("ui-monospace", "monospace")],
    }
    return {"theme": gr.themes.Default(**fonts), "css": CSS}


def build(explorer: Explorer) -> Any:
    """The page of a model, a `gradio.Blocks` that is not yet served.

    Raises:
        ConfigError: Gradio is not installed.
    """
    return _Page(gradio(), explorer).blocks


class _One:
    """Where one example is shown. Music has a player below the picture of its notes."""

    def __init__(self, page: "_Page", label: str, name: str) -> None:
        gr, self._shown = page.gr, page.explorer.shown
        kind = self._shown.kind
        self.parts: list[Any] = []
        if self._shown.pictured:
            self.parts.append(_picture(gr, label, name, kind == "image"))
        elif kind == "table":
            self.parts.append(_table(gr, label, name))
        else:
            self.parts.append(gr.Textbox(label=label, interactive=False, lines=4, max_lines=20, elem_id=name))
        if kind == "music":
            self.parts.append(_player(gr, f"{label}, to hear", name))

    def values(self, values: Tensor) -> list[Any]:
        """What the parts show for `(1, *shape)`."""
        sound = [self._shown.sound(values[0])] if self._shown.kind == "music" else []
        return [self._shown.one(values), *sound]


class _Many:
    """Where several examples are shown. Of music the one that is clicked on is played."""

    def __init__(self, page: "_Page", label: str, name: str) -> None:
        gr, self._shown = page.gr, page.explorer.shown
        if not self._shown.pictured:
            self.parts = [_table(gr, label, name)]
            return
        gr.Markdown(label)  # a label of the gallery would cover the first picture
        style = "small" if self._shown.kind == "image" else "wide"
        self.parts = [
            gr.Gallery(
                show_label=False, format="png", interactive=False, object_fit="contain",
                height="auto", buttons=["download"], elem_id=name,
                elem_classes=[style],
            )
        ]  # fmt: skip
        if self._shown.kind == "music":
            kept = gr.State(None)
            player = _player(gr, "the one that you click on", name)
            self.parts.append(kept)

            def play(values: Tensor | None, event: gr.SelectData) -> Any:  # type: ignore[name-defined]
                return None if values is None else self._shown.sound(values[event.index])

            page.on(self.parts[0].select, play, [kept], [player])

    def values(self, values: Tensor, names: Sequence[str], drawn: bool = False) -> list[Any]:
        """What the parts show for `(N, *shape)`; see `Shown.several`."""
        shown = self._shown.several(values, names, drawn)
        return [shown, values] if self._shown.kind == "music" else [shown]


class _Page:
    """Builds the page of a model."""

    def __init__(self, gr: Any, explorer: Explorer) -> None:
        self.gr, self.explorer, self.trained = gr, explorer, explorer.trained
        self.labels = list(self.trained.spec.classes) if self.trained.model.conditional else []
        name = self.trained.spec.name
        with gr.Blocks(title=f"{name} - vaelab", analytics_enabled=False, delete_cache=(600, 1800)) as self.blocks:
            kind, size = explorer.shown.kind, self.trained.latent_dim
            about = f"{type(self.trained.model).__name__} of {kind} data; a code has {counted(size, 'dimension')}."
            gr.Markdown(f"## {escape(name)}\n{about}")
            with gr.Tabs():
                with gr.Tab("Latent"):
                    self._latent()
                with gr.Tab("Samples"):
                    self._samples()
                with gr.Tab("Your files"):
                    self._files()
                with gr.Tab("Between two"):
                    self._between()
                if explorer.corpus is not None:
                    with gr.Tab("Map"):
                        self._map()
        self.blocks.queue(default_concurrency_limit=1, max_size=50)

    def on(self, event: Any, handler: Handler, inputs: Sequence[Any], outputs: Sequence[Any], **how: Any) -> None:
        """Call a handler when something happens; one at a time, since they share the model."""
        event(_told(self.gr, handler), list(inputs), list(outputs), concurrency_id="model", concurrency_limit=1,
              api_visibility="private", **how)  # fmt: skip

    def _label(self, usual: str) -> Any:
        return self.gr.Dropdown(
            [usual, *self.labels], value=usual, label="label", filterable=False, visible=bool(self.labels)
        )

    def _upload(self, label: str, name: str) -> tuple[Any, Any]:
        adapter = self.trained.adapter
        kinds = ", ".join(adapter.suffixes[:3])
        file = self.gr.File(label=f"{label}: {adapter.what} ({kinds})", type="filepath", height=140, elem_id=name)
        several = self.explorer.shown.kind != "image"
        number = self.gr.Number(1, label="which example of the file, from 1", precision=0, minimum=1, visible=several)
        return file, number

    def _latent(self) -> None:
        gr, explorer = self.gr, self.explorer
        base = gr.State(explorer.start())
        with gr.Row():
            with gr.Column(min_width=280, elem_classes=["pinned"]):
                view = _One(self, "decoded", "decoded")
            with gr.Column(min_width=280):
                label = self._label(NONE)
                sliders = [
                    gr.Slider(one.low, one.high, 0.0, step=_step(one), label=f"z{one.place}", buttons=[],
                              elem_id=f"z{one.place}")
                    for one in explorer.sliders
                ]  # fmt: skip
                left = self.trained.latent_dim - len(sliders)
                if left:
                    gr.Markdown(f"The dimensions of the code with the largest effect; {left:,} others are not shown.")
                reset = gr.Button("Reset to 0", elem_id="reset")
                with gr.Accordion("Start from a file", open=False):
                    file, number = self._upload("a file", "latent-file")
                    begin = gr.Button("Start from it", variant="primary", elem_id="begin")

        def moved(code: Tensor, given: str, *numbers: float) -> list[Any]:
            return view.values(explorer.decoded(explorer.code(code, numbers), _chosen(given)))

        def started(path: str | None, place: float | None, given: str) -> list[Any]:
            code = self.trained.codes(self.trained.part(explorer.example(path, _whole(place)).values))[0]
            shown = view.values(explorer.decoded(code, _chosen(given)))
            return [code, *(_moved_to(gr, one, float(code[one.place])) for one in explorer.sliders), *shown]

        def again(given: str) -> list[Any]:
            code = explorer.start()
            shown = view.values(explorer.decoded(code, _chosen(given)))
            return [code, *(_moved_to(gr, one, 0.0) for one in explorer.sliders), *shown]

        live = {"trigger_mode": "always_last", "show_progress": "hidden"}
        for slider in sliders:
            self.on(slider.input, moved, [base, label, *sliders], view.parts, **live)
        self.on(label.change, moved, [base, label, *sliders], view.parts, **live)
        self.on(begin.click, started, [file, number, label], [base, *sliders, *view.parts])
        self.on(reset.click, again, [label], [base, *sliders, *view.parts])
        self.on(self.blocks.load, moved, [base, label, *sliders], view.parts)

    def _samples(self) -> None:
        gr, explorer = self.gr, self.explorer
        if explorer.no_samples is not None:
            gr.Markdown(f"This model cannot draw samples: {escape(explorer.no_samples)}")
            return
        if not explorer.has_prior:
            gr.Markdown(
                "The codes of this autoencoder follow no prior, so samples from N(0, I) are not meaningful. "
                "A run with `fitted_prior=gaussian` fits a prior to its codes."
            )
        with gr.Row():
            count = gr.Slider(1, MOST_SAMPLES, 16, step=1, label="count", buttons=[], min_width=140)
            temperature = gr.Slider(0.1, 2.0, 1.0, step=0.05, label="temperature", buttons=[], min_width=140,
                                    info="below 1: more typical, less varied")  # fmt: skip
            seed = gr.Number(0, label="seed", precision=0, min_width=140, info="the same seed, the same samples")
            label = self._label(ANY)
        draw = gr.Button("Draw", variant="primary", elem_id="draw")
        view = _Many(self, "samples", "samples")

        def drawn(how_many: float, heat: float, given: str, start: float | None) -> list[Any]:
            values = explorer.samples(_whole(how_many), heat, _chosen(given), _whole(start, 0))
            return view.values(values, [str(number) for number in range(1, len(values) + 1)], drawn=True)

        self.on(draw.click, drawn, [count, temperature, label, seed], view.parts)

    def _files(self) -> None:
        gr, explorer = self.gr, self.explorer
        kind = explorer.shown.kind
        with gr.Row():
            with gr.Column(min_width=280):
                file, number = self._upload("your file", "file")
            with gr.Column(min_width=280):
                how = gr.Radio(["reconstruct", "denoise"], value="reconstruct", label="what the model does")
                go = gr.Button("Analyse", variant="primary", elem_id="look")
                verdict = gr.Textbox(label="score", interactive=False, lines=3, max_lines=8, elem_id="verdict")
        with gr.Row():
            with gr.Column(min_width=240):
                own = _One(self, "your example, as the model sees it", "own")
            parts = [*own.parts]
            again = None
            if kind != "table":
                with gr.Column(min_width=240):
                    again = _One(self, "the model's", "again")
                parts += again.parts
            if kind in ("image", "series"):
                with gr.Column(min_width=240):
                    places = _picture(gr, "how unusual each position is", "places", kind == "image")
                parts.append(places)
            if kind == "table":
                with gr.Column(min_width=240):
                    columns = _table(gr, "columns with the largest contribution to the score", "columns")
                parts.append(columns)
        corpus, near = explorer.corpus, None
        if corpus is not None:
            near = _Many(self, "nearest files of the command line (by distance of codes)", "near")

        def looked(path: str | None, place: float | None, what: str) -> list[Any]:
            values = explorer.example(path, _whole(place)).values
            found = explorer.look(values, what == "denoise")
            shown: list[Any] = [found.verdict]
            if again is None:
                shown += [explorer.shown.beside(values, found.again), found.columns]
            else:
                shown += [*own.values(values), *again.values(found.again)]
            shown += [found.places] if kind in ("image", "series") else []
            if near is not None and corpus is not None:
                places = [place for place, _ in found.neighbours]
                names = [f"{corpus.names[place]} ({distance:.3g})" for place, distance in found.neighbours]
                shown += near.values(corpus.values[places], names)
            return shown

        outputs = [verdict, *parts, *(near.parts if near is not None else [])]
        self.on(go.click, looked, [file, number, how], outputs)

    def _between(self) -> None:
        gr, explorer = self.gr, self.explorer
        with gr.Row():
            with gr.Column(min_width=280):
                first = self._upload("the first", "first")
            with gr.Column(min_width=280):
                second = self._upload("the second", "second")
        with gr.Row():
            steps = gr.Slider(3, 24, 8, step=1, label="steps, including both ends", buttons=[], min_width=140)
            circle = gr.Checkbox(False, label="along a great circle", info="keeps the norm of codes", min_width=140)
        go = gr.Button("Interpolate", variant="primary", elem_id="way")
        view = _Many(self, "from the first to the second", "between")

        def shown(a: str | None, a_place: float, b: str | None, b_place: float, count: float, along: bool) -> list[Any]:
            ends = [explorer.example(path, _whole(at)).values for path, at in ((a, a_place), (b, b_place))]
            values = explorer.between(ends[0], ends[1], _whole(count), along)
            return view.values(values, [f"{place / (len(values) - 1):.0%}" for place in range(len(values))])

        self.on(go.click, shown, [*first, *second, steps, circle], view.parts)

    def _map(self) -> None:
        gr, corpus = self.gr, self.explorer.corpus
        assert corpus is not None
        gr.Markdown(f"{len(corpus.names):,} examples by their codes ({escape(corpus.axes)}). Click on one.")
        with gr.Row():
            with gr.Column(min_width=280):
                points = gr.Image(corpus.map(), label="map", type="pil", format="png", interactive=False, buttons=[],
                                  elem_id="map", alt_text="a map of the codes of the files")  # fmt: skip
            with gr.Column(min_width=280):
                name = gr.Textbox(label="example", interactive=False, elem_id="chosen")
                own = _One(self, "as the model sees it", "map-own")
                again = _One(self, "decoded from its code", "map-decoded")

        def clicked(event: gr.SelectData) -> list[Any]:  # type: ignore[name-defined]
            place = corpus.at(*event.index)
            values = self.explorer.decoded(corpus.codes[place])
            shown = [*own.values(corpus.values[place][None]), *again.values(values)]
            return [corpus.map(place), corpus.names[place], *shown]

        self.on(points.select, clicked, [], [points, name, *own.parts, *again.parts])


def _told(gr: Any, handler: Handler) -> Handler:
    """A handler whose errors are one message in the page, and whose notes are shown there."""

    @wraps(handler)
    def told(*given: Any) -> Any:
        try:
            with redirect_stderr(StringIO()) as said:
                found = handler(*given)
        except UserError as error:
            raise gr.Error(escape(str(error)), print_exception=False) from error
        except Exception as error:
            fault = f"an error in the program ({type(error).__name__}); see the terminal"
            raise gr.Error(escape(fault), print_exception=True) from error
        for line in said.getvalue().splitlines():
            if line.startswith("note: "):
                gr.Warning(escape(line.removeprefix("note: ")))
            else:
                print(line, file=sys.stderr)
        return found[0] if isinstance(found, list) and len(found) == 1 else found

    return told


def _picture(gr: Any, label: str, name: str, pixelated: bool) -> Any:
    """An image below its label, which would cover the corner of the image otherwise."""
    gr.Markdown(label)
    return gr.Image(
        show_label=False, type="pil", format="png", interactive=False, buttons=["download"], elem_id=name,
        elem_classes=["shown"] if pixelated else [], alt_text=label,
    )  # fmt: skip


def _player(gr: Any, label: str, name: str) -> Any:
    """For sound, without the button that sends it to a public site."""
    return gr.Audio(label=label, interactive=False, buttons=["download"], elem_id=f"{name}-sound")


def _table(gr: Any, label: str, name: str) -> Any:
    return gr.Dataframe(label=label, interactive=False, wrap=True, max_height=420, elem_id=name, datatype="str",
                        buttons=["copy"])  # fmt: skip


def _step(slider: Slider) -> float:
    """A hundredth of the way or so, a plain number."""
    return float(10.0 ** (floor(log10(slider.high - slider.low)) - 2))


def _moved_to(gr: Any, slider: Slider, number: float) -> Any:
    """A slider at a number, which goes at least as far as that."""
    step = _step(slider)
    low, high = min(slider.low, floor(number / step) * step), max(slider.high, -floor(-number / step) * step)
    return gr.Slider(minimum=low, maximum=high, value=round(number / step) * step)


def _chosen(label: str | None) -> str | None:
    return None if label in (None, ANY, NONE) else label


def _whole(number: float | None, otherwise: int = 1) -> int:
    return otherwise if number is None else int(number)

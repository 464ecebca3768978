"""The rate of each latent dimension."""

from matplotlib.figure import Figure
from torch import Tensor


def rate_bars(rates: Tensor, active: Tensor) -> Figure:
    """Bars of `(latent_dim,)` rates in nats, the highest first; `active: (latent_dim,)` bool sets their colour."""
    ordered = rates.sort(descending=True)
    count = len(rates)
    figure = Figure(figsize=(7, 2.8), dpi=120, layout="constrained")
    axes = figure.subplots()
    colours = ["tab:blue" if used else "lightgrey" for used in active[ordered.indices].tolist()]
    axes.bar(range(count), ordered.values.numpy(), color=colours, width=0.8)
    if count <= 40:
        axes.set_xticks(range(count), [str(int(d)) for d in ordered.indices], fontsize=7)
    axes.tick_params(labelsize=7)
    axes.set_xlabel("latent dimension, by rate", fontsize=8)
    axes.set_ylabel("nats", fontsize=8)
    counted = f"{rates.sum():.4g} nats in all, {int(active.sum())} of {count} units active"
    axes.set_title(f"Rate of each latent dimension: {counted}", fontsize=9)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure

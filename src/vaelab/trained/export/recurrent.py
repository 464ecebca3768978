"""Recurrent layers in a form that can be traced."""

import torch
from torch import Tensor, nn

from vaelab.backbones.gru import GRUEncoder
from vaelab.core.spec import observed_steps

WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class TracedGRU(nn.Module):
    """An `nn.GRU` of one direction, with its weights as buffers of its own.

    Args:
        gru: `batch_first`, with biases.
    """

    def __init__(self, gru: nn.GRU) -> None:
        super().__init__()
        self.num_layers, self.hidden_size = gru.num_layers, gru.hidden_size
        for layer in range(gru.num_layers):
            for name in WEIGHTS:
                self.register_buffer(f"{name}_{layer}", getattr(gru, f"{name}_l{layer}").detach().clone())

    def forward(self, inputs: Tensor, begin: Tensor) -> tuple[Tensor, Tensor]:
        """`inputs: (N, T, size)`, `begin: (layers, N, width)`; see `nn.GRU`."""
        states = []
        for layer in range(self.num_layers):
            weights = [getattr(self, f"{name}_{layer}") for name in WEIGHTS]
            first = begin[layer : layer + 1].contiguous()
            inputs, state = torch.gru(inputs, first, weights, True, 1, 0.0, False, False, True)
            states.append(state)
        return inputs, torch.cat(states)


class PaddedGRU(nn.Module):
    """A `GRUEncoder` that goes over all steps: packed sequences are in no exported program.

    The direction from the end reads each sequence from its own last step on.
    """

    def __init__(self, encoder: GRUEncoder) -> None:
        super().__init__()
        self.embedding, self.output = encoder.embedding, encoder.output
        self.layers, self.width = encoder.gru.num_layers, encoder.gru.hidden_size
        for layer in range(self.layers):
            for way in ("", "_reverse"):
                for name in WEIGHTS:
                    weight = getattr(encoder.gru, f"{name}_l{layer}{way}").detach()
                    self.register_buffer(f"{name}_{layer}{way}", weight.clone())

    def forward(self, x: Tensor) -> Tensor:
        """See `GRUEncoder.forward`."""
        observed = observed_steps(x)
        steps = torch.arange(x.shape[-1], device=x.device)
        lengths = (observed * (steps + 1)).amax(1).clamp(min=1)
        there = steps < lengths[:, None]
        turned = torch.where(there, lengths[:, None] - 1 - steps, steps)
        hidden = self.embedding(x)
        for layer in range(self.layers):
            onward = self._run(hidden, f"_{layer}")
            back = self._run(_taken(hidden, turned), f"_{layer}_reverse")
            last = [_taken(of, lengths[:, None] - 1)[:, 0] for of in (onward, back)]
            hidden = torch.cat([onward, _taken(back, turned)], 2)
        mean = (hidden * there.to(hidden.dtype).unsqueeze(2)).sum(1) / lengths.unsqueeze(1)
        return self.output(torch.cat([*last, mean], dim=1))

    def _run(self, inputs: Tensor, of: str) -> Tensor:
        weights = [getattr(self, name + of) for name in WEIGHTS]
        begin = inputs.new_zeros(1, inputs.shape[0], self.width)
        outputs: Tensor = torch.gru(inputs, begin, weights, True, 1, 0.0, False, False, True)[0]
        return outputs


def _taken(values: Tensor, places: Tensor) -> Tensor:
    """`values: (N, T, width)` at `places: (N, S)`; `(N, S, width)`."""
    return values.gather(1, places.unsqueeze(2).expand(-1, -1, values.shape[2]))


def make_traceable(module: nn.Module) -> None:
    """Replace recurrent layers within a module, which is changed, by those above."""
    for name, child in module.named_children():
        if isinstance(child, GRUEncoder):
            setattr(module, name, PaddedGRU(child))
        elif isinstance(child, nn.GRU) and child.batch_first and child.bias and not child.bidirectional:
            setattr(module, name, TracedGRU(child))
        else:
            make_traceable(child)

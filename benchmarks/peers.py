"""What one would take instead, training what `throughput.py` trains; on random pixels, which take as long as others.

python benchmarks/peers.py pythae BATCHES       # in an environment that has pythae 0.1.2
python benchmarks/peers.py pytorch_vae BATCHES
"""

import subprocess
import sys
import sysconfig
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from turns import Clock, TurnClock

PYTHAE = "pythae==0.1.2"
FOREVER = 10**6


def pythae_python(folder: Path) -> str:
    """The interpreter of an environment that adds pythae to this one's packages, made at first use.

    Both then train with the same torch; what pythae declares beside it is there.
    """
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        site = subprocess.run(
            [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        Path(site, "vaelab.pth").write_text(sysconfig.get_path("purelib") + "\n")
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", PYTHAE], check=True)
    return str(python)


def pythae(batches: int, clock: Clock) -> None:
    """Its VAE and its trainer; 784-512-16-512-784, batches of 128, binary cross-entropy, Adam."""
    from pythae.data.datasets import BaseDataset
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.trainers import BaseTrainer, BaseTrainerConfig
    from pythae.trainers.training_callbacks import TrainingCallback

    class Encoder(BaseEncoder):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.hidden = nn.Sequential(nn.Flatten(), nn.Linear(784, 512), nn.ReLU())
            self.mean, self.log_variance = nn.Linear(512, 16), nn.Linear(512, 16)

        def forward(self, x: Tensor) -> Any:
            h = self.hidden(x)
            return ModelOutput(embedding=self.mean(h), log_covariance=self.log_variance(h))

    class Decoder(BaseDecoder):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(16, 512), nn.ReLU(), nn.Linear(512, 784), nn.Sigmoid())

        def forward(self, z: Tensor) -> Any:
            return ModelOutput(reconstruction=self.net(z).view(-1, 1, 28, 28))

    class Turns(TrainingCallback):  # type: ignore[misc]
        def on_epoch_begin(self, training_config: Any, **others: Any) -> None:
            clock.begin()

        def on_epoch_end(self, training_config: Any, **others: Any) -> None:
            clock.end()

    about = VAEConfig(input_dim=(1, 28, 28), latent_dim=16, reconstruction_loss="bce")
    examples = BaseDataset(torch.rand(128 * batches, 1, 28, 28), torch.zeros(128 * batches))
    with TemporaryDirectory() as folder:
        config = BaseTrainerConfig(
            output_dir=folder, num_epochs=FOREVER, per_device_train_batch_size=128, learning_rate=1e-3, no_cuda=True
        )
        model = VAE(about, encoder=Encoder(), decoder=Decoder())
        BaseTrainer(model, train_dataset=examples, training_config=config, callbacks=[Turns()]).train()


class VanillaVAE(nn.Module):
    """The layers of PyTorch-VAE's VanillaVAE for 64 x 64 x 3: widths 32 to 512 with batch normalisation, 128 codes."""

    def __init__(self, widths: tuple[int, ...] = (32, 64, 128, 256, 512), latent_dim: int = 128) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            *(_stage(nn.Conv2d(a, b, 3, stride=2, padding=1), b) for a, b in pairwise((3, *widths))), nn.Flatten()
        )
        self.mean, self.log_variance = nn.Linear(widths[-1] * 4, latent_dim), nn.Linear(widths[-1] * 4, latent_dim)
        self.project = nn.Sequential(nn.Linear(latent_dim, widths[-1] * 4), nn.Unflatten(1, (widths[-1], 2, 2)))
        self.decoder = nn.Sequential(
            *(
                _stage(nn.ConvTranspose2d(a, b, 3, stride=2, padding=1, output_padding=1), b)
                for a, b in pairwise((*widths[::-1], widths[0]))
            ),
            nn.Conv2d(widths[0], 3, 3, padding=1),
            nn.Tanh(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Its loss: the mean squared error of a pixel and, weighed by a constant, the KL of an example."""
        h = self.encoder(x)
        mean, log_variance = self.mean(h), self.log_variance(h)
        z = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        kl = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(1).mean()
        return F.mse_loss(self.decoder(self.project(z)), x) + 0.00025 * kl


def _stage(convolution: nn.Module, width: int) -> nn.Module:
    return nn.Sequential(convolution, nn.BatchNorm2d(width), nn.LeakyReLU())


def pytorch_vae(batches: int, clock: Clock) -> None:
    """Its model and step in the plainest loop, without the Trainer it runs in; batches of 64, Adam."""
    model = VanillaVAE()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    loader = DataLoader(TensorDataset(torch.rand(64 * batches, 3, 64, 64)), 64, shuffle=True)
    for _ in range(FOREVER):
        clock.begin()
        for (x,) in loader:
            optimizer.zero_grad()
            model(2 * x - 1).backward()
            optimizer.step()
        clock.end()


def main() -> None:
    contender, batches = sys.argv[1:]
    {"pythae": pythae, "pytorch_vae": pytorch_vae}[contender](int(batches), TurnClock())


if __name__ == "__main__":
    main()

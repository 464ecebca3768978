"""Train a VAE on your own tensors with a plain Lightning Trainer, without a config and a run folder.

python examples/train_in_python.py samples.png
python examples/train_in_python.py samples.png 60

For the rows of a table, `vaelab.sklearn.Autoencoder` has `fit`, `transform` and `score_samples` (docs/use.md).
"""

import sys

import lightning.pytorch as L
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset, random_split

from vaelab import VAE
from vaelab.backbones import MLPDecoder, MLPEncoder
from vaelab.core import DataSpec
from vaelab.likelihoods import ContinuousBernoulli

SHAPE = (1, 8, 8)


def main(output: str, epochs: str = "30") -> None:
    """Train on handwritten digits, print the numbers of held-out ones, and write 64 samples as one picture."""
    L.seed_everything(1)
    images = torch.tensor(load_digits().images, dtype=torch.float32).unsqueeze(1) / 16  # (1797, 1, 8, 8) in [0, 1]
    train, val, test = random_split(TensorDataset(images), [0.8, 0.1, 0.1])
    likelihood = ContinuousBernoulli(DataSpec("digits", "image", SHAPE, "unit", 17))
    encoder = MLPEncoder(SHAPE, 2 * 16, [256], activation="relu")  # 16 means and 16 scales
    decoder = MLPDecoder(16, likelihood.raw_shape, [256], activation="relu")
    vae = VAE(encoder, decoder, likelihood, 16)
    quiet = {"enable_progress_bar": False, "enable_model_summary": False}
    trainer = L.Trainer(max_epochs=int(epochs), logger=False, enable_checkpointing=False, **quiet)
    trainer.fit(vae, DataLoader(train, 64, shuffle=True), DataLoader(val, 256))
    (numbers,) = trainer.test(vae, DataLoader(test, 256), verbose=False)
    print(f"test/elbo {numbers['test/elbo']:.2f}, test/kl {numbers['test/kl']:.2f}")
    with torch.no_grad():
        samples = vae.model.decode(torch.randn(64, 16)).clamp(0, 1)  # (64, 1, 8, 8)
    framed = torch.nn.functional.pad(samples, (1, 1, 1, 1), value=1)
    sheet = framed.reshape(8, 8, 10, 10).permute(0, 2, 1, 3).reshape(80, 80)
    Image.fromarray((255 * sheet).byte().numpy()).resize((480, 480), Image.Resampling.NEAREST).save(output)


if __name__ == "__main__":
    main(*sys.argv[1:])

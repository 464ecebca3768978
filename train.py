"""Train or evaluate an autoencoder: `python train.py task=denoising data=digits model=ae`.

`python train.py --help` lists what there is. The run itself is `vaelab.run.run`, on one screen.
"""

from vaelab.cli import train

if __name__ == "__main__":
    train()

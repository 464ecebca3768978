"""Clean a picture, and draw four new ones.

python train.py task=denoising data=images data.path=photos/ data.size=32
python examples/clean_pictures.py logs/denoising/images-ae/<date> noisy.png clean.png

python train.py task=generation data=images data.path=photos/ data.size=32
python examples/clean_pictures.py logs/generation/images-vae/<date> noisy.png clean.png new
"""

import sys

from PIL import Image

import vaelab


def main(run: str, noisy: str, clean: str, samples: str | None = None) -> None:
    """Write the likeliest original of a picture, in its size, and new pictures where a name for them is given."""
    trained = vaelab.load(run)
    with Image.open(noisy) as picture:
        trained.denoise(picture).save(clean)
    if samples is not None:
        for number, picture in enumerate(trained.sample(4, temperature=0.8)):
            picture.save(f"{samples}_{number}.png")


if __name__ == "__main__":
    main(*sys.argv[1:])

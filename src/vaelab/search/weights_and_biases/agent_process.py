"""W&B's agent as a process that ends with the one that has started it.

`python -m vaelab.search.weights_and_biases.agent_process <sweep>` is `wandb agent <sweep>`.
"""

import sys

from vaelab.signals import end_with_parent


def main() -> None:
    """Be W&B's agent. It tells its trial to end when it is told so itself."""
    end_with_parent()
    sys.argv = ["wandb", "agent", "--forward-signals", sys.argv[1]]
    from wandb.cli.cli import cli

    cli()


if __name__ == "__main__":
    main()

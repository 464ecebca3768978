"""W&B's agent as a process that ends when its parent process ends.

`python -m vaelab.search.weights_and_biases.agent_process <sweep>` is `wandb agent <sweep>`.
"""

import sys

from vaelab.signals import end_with_parent


def main() -> None:
    """Run W&B's agent, which forwards signals to its trial."""
    end_with_parent()
    sys.argv = ["wandb", "agent", "--forward-signals", sys.argv[1]]
    from wandb.cli.cli import cli

    cli()


if __name__ == "__main__":
    main()

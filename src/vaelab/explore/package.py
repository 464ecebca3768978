"""The package that makes the page."""

import os
from typing import Any

from vaelab.errors import ConfigError


def gradio() -> Any:
    """The package, without its telemetry: it sends nothing and asks nobody for its newest version.

    Raises:
        ConfigError: it is not installed.
    """
    for name in [name for name in os.environ if name.startswith("GRADIO_") and name != "GRADIO_TEMP_DIR"]:
        del os.environ[name]  # GRADIO_SHARE and others would open the page to other machines
    os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1"}
    try:
        import gradio
    except ImportError:
        raise ConfigError("explore: needs the package gradio; pip install 'vaelab[explore]'") from None
    return gradio

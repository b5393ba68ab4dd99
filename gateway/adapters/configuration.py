"""nginx's configuration on disk: a directory a generation, and the symlink `live` to the one that counts."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from gateway.adapters.render import Rendered
from gateway.errors import Failed
from gateway.paths import CONF_DIR

TEST_TIMEOUT_S = 120.0


class ConfigurationFiles:
    def __init__(self, conf_dir: str | Path = CONF_DIR) -> None:
        self._dir = Path(conf_dir)

    def write(self, rendered: Rendered) -> None:
        """Write the generation whole, without making it live."""
        folder = self._dir / rendered.generation
        shutil.rmtree(folder, ignore_errors=True)  # what a killed writer left
        for name, text in rendered.files.items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)

    def live(self) -> str | None:
        """The generation that nginx reads at its next start or reload."""
        link = self._dir / "live"
        return link.readlink().name if link.is_symlink() else None

    def show(self, generation: str) -> None:
        """Make it the one that nginx reads, in one rename."""
        link = self._dir / ".live.new"
        link.unlink(missing_ok=True)
        link.symlink_to(generation)
        link.replace(self._dir / "live")

    def forget_others(self, *kept: str) -> None:
        """Remove the generations that are not named."""
        for folder in self._dir.iterdir():
            if folder.name not in kept and not folder.is_symlink():
                shutil.rmtree(folder, ignore_errors=True)


def nginx_test() -> None:
    """`nginx -t` of what is live. Raises Failed with what nginx said."""
    done = subprocess.run(["nginx", "-t", "-q"], capture_output=True, text=True, timeout=TEST_TIMEOUT_S)
    if done.returncode != 0:
        raise Failed(f"nginx refuses the configuration: {done.stderr.strip()}")

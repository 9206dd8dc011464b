"""The example of the README does what it says."""

import os
import re
import subprocess
import sys
from pathlib import Path

from framework.embedded.broker import EmbeddedBroker

README = Path(__file__).parents[1] / "README.md"


def test_the_example_prints_what_the_readme_shows(registry, tmp_path):
    with EmbeddedBroker() as broker:
        text = README.read_text().replace("localhost:9092", broker.bootstrap_servers)
        text = text.replace("http://localhost:8081", registry.url)
        script, commands, shown = re.findall(r"^```text\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        (tmp_path / "fill.py").write_text(script)
        install, _, rest = commands.partition("\n")
        assert install.startswith("pip install ")  # is done already
        programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        done = subprocess.run(
            ["/bin/sh", "-e", "-c", rest],
            cwd=tmp_path, env={**os.environ, "PATH": programs}, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == shown

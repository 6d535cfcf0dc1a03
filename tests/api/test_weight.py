import subprocess
import sys

from jobs.settings import Settings

PROGRAM = """
import sys
from api.app import create_app
from api.openapi_document import derived_document
from jobs.settings import load_settings

derived_document(create_app(load_settings()))
heavy = {"torch", "torchvision", "PIL", "pyarrow", "pandas"} & set(sys.modules)
sys.exit(f"loaded {sorted(heavy)}" if heavy else 0)
"""


def test_the_api_loads_no_tensor_library_and_no_decoder(settings: Settings) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")

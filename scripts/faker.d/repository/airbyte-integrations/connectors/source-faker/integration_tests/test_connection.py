import json
import logging
import pathlib

from source_faker import SourceFaker

CONFIG = json.loads((pathlib.Path(__file__).parent / "config.json").read_text())


def test_it_connects_with_the_configuration_of_the_acceptance_test():
    connected, why = SourceFaker().check_connection(logging.getLogger("test"), CONFIG)
    assert connected, why

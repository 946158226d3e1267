"""What several test modules share."""

import logging

import pytest


@pytest.fixture
def packageLogging():
    """Give the package's logger back as it was: the command takes it over."""
    logger = logging.getLogger("psfmatch")
    state = logger.handlers[:], logger.level, logger.propagate
    yield
    logger.handlers[:], logger.propagate = state[0], state[2]
    logger.setLevel(state[1])

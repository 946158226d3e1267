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


@pytest.fixture
def undrawnReport(monkeypatch):
    """Figures of reports are made, but not rendered, which takes most of a report's time."""
    from psfmatch.reporting import page

    def pngOf(figure, dpi):
        assert figure.get_size_inches().min() > 0
        return "data:image/png;base64,"

    monkeypatch.setattr(page, "pngOf", pngOf)
    monkeypatch.setattr(page, "smallTriplet", lambda result: "")

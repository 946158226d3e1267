"""Sentences of the reference page on reports and on grades that no other test holds."""

import base64
import dataclasses
import inspect
import io

import numpy as np
import pytest
from PIL import Image
from referencePage import TEXT

from psfmatch import MaskedImage, subtract
from psfmatch.pictures import reportNumbers, writeReport
from psfmatch.pictures.field import scatterInBlocks
from psfmatch.quality import GRADES, RULES, FinishedSubtraction, Quality, assessQuality
from psfmatch.quality.grading import gradeFigures
from psfmatch.testing import simulatePair


@pytest.fixture(scope="module")
def result():
    pair = simulatePair(seed=3, size=200, brightStars=300)
    return subtract(pair.template, pair.science, threads=1)


@pytest.fixture
def written(result, tmp_path, undrawnReport):
    numbers = result.report(tmp_path / "pair.html", title="a pair")
    return numbers, (tmp_path / "pair.html").read_text()


def test_orderOfThePage(written):
    """The grade, where the difference is worse than its noise, why the grade is no better; pictures; tables."""
    numbers, text = written
    body = text[text.index("<main>") :]
    places = [body.index(part) for part in (f">{numbers['grade']}<", numbers["worstPart"][:40], 'class="reasons"')]
    places += [body.index("<img"), body.index("<table")]
    assert places == sorted(places)


def test_writeReportIsWhatTheMethodCalls(result, written, tmp_path):
    numbers, text = written
    again = writeReport(result, tmp_path / "again.html", title="a pair", threads=1)
    assert again == numbers
    assert (tmp_path / "again.html").read_text() == text
    assert list(inspect.signature(writeReport).parameters) == ["result", "path", "title", "threads", "overwrite"]
    assert list(inspect.signature(reportNumbers).parameters) == ["result", "title", "detections"]


def test_aResultShowsThreeImagesAndATable(result):
    text = result._repr_html_()
    assert (text.count("<table"), text.count("<img")) == (1, 1)
    data = base64.b64decode(text.partition("base64,")[2].partition('"')[0])
    with Image.open(io.BytesIO(data)) as picture:
        # Bins of two pixels of 200, three of them, and two gaps.
        assert picture.size == (3 * 100 + 2 * 3, 100)


@pytest.mark.parametrize(("size", "side"), [(200, 16), (1080, 30)])
def test_sideOfTheBlocks(result, size, side):
    difference = result.difference.withPixels(
        MaskedImage(np.zeros((50, size), np.float32), variance=np.ones((50, size), np.float32))
    )
    assert scatterInBlocks(dataclasses.replace(result, difference=difference))[1] == side


def test_whatIsNotKnownIsNull(result):
    quality = dataclasses.replace(result.quality, sourceRobust=np.nan, lag2=None, skyLevel=np.inf)
    numbers = reportNumbers(dataclasses.replace(result, quality=quality, alignment=None))
    assert [numbers["quality"][name] for name in ("sourceRobust", "lag2", "skyLevel")] == [None] * 3
    assert numbers["alignment"] is numbers["detections"] is None


# Grades


def test_unknownFiguresDoNotCount():
    """What is infinite is F; what is not known does not count, and what is no number is not known."""
    image = MaskedImage(np.random.default_rng(1).normal(size=(96, 96)), variance=np.ones((96, 96)))
    plain, nan, infinite = (
        assessQuality(FinishedSubtraction(image, image, image, told={"conditionNumber": value}))
        for value in (None, np.nan, np.inf)
    )
    assert plain.conditionNumber is nan.conditionNumber is None
    assert plain.reasons == nan.reasons
    assert plain.grade < infinite.grade == "F"
    assert "condition number of inf" in infinite.reasons[0]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.figure)
def test_everyFigureShortOfAIsTold(rule):
    """With its number and the limit, whichever it is."""
    limit = next(limit for limit in (*rule.limits, 0.0) if np.isfinite(limit))
    value = {"most": 1.5 * limit + 1e-3, "near one": 1.5 * limit, "least": limit - 0.5}[rule.kind]
    if rule.figure == "remainingExcess":
        quality = Quality("F", (), nRemaining=12, nSources=40)
        value = quality.remainingExcess
    else:
        quality = dataclasses.replace(Quality("F", ()), **{rule.figure: value})
    grade, reasons = gradeFigures(quality)
    (told,) = [reason for reason in reasons if rule.words.partition("{}")[2] in reason and f"{value:.3g}" in reason]
    assert told[0] == rule.grade(value) != "A"
    assert grade == max(reason[0] for reason in reasons)
    better = GRADES[GRADES.index(told[0]) - 1]
    assert f"; {better} needs {rule.asked(rule.limits[GRADES.index(better)])}" in told


@pytest.mark.parametrize(("isMasked", "grade", "words"), [(False, "C", "no source"), (True, "D", "no blank sky")])
def test_capsOfWhatCannotBeChecked(isMasked, grade, words):
    image = MaskedImage(np.random.default_rng(1).normal(size=(96, 96)), variance=np.ones((96, 96)))
    if isMasked:
        image.mask[:] |= image.mask.getPlaneBitMask("BAD")
    quality = assessQuality(FinishedSubtraction(image, image, image, told={"nUsed": 20}))
    (told,) = [reason for reason in quality.reasons if words in reason]
    assert told[0] == grade <= quality.grade


def test_sentencesOnCaps():
    (text,) = [part for part in TEXT.split("\n\n") if part.startswith("`remainingExcess` is")]
    for words in ("PSF models (C)", "scale alone (D)", "without blank sky (D)", "signal-to-noise 30 (C)"):
        assert words in text.replace("\n", " "), words
